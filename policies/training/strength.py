"""How strongly a candidate applies what it learnt, set on harmless prompts that it did not learn from.

Trained on a few hundred pairs, a small policy tells harmful from harmless about equally well whatever the
seed, but where it comes to rest between refusing too little and refusing too much is chance. So its weights
are moved on the line from where training began to where it ended, between the two (WiSE-FT, arXiv 2109.01903)
or beyond the end (ExPO, arXiv 2404.16792), until the refusals it begins on harmless prompts are as many as
the recipe allows. Selection and sealed prompts have no part in it: what the gates measure stays unseen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from policies.engines.models import bare_model
from policies.errors import NotEnoughData

# 0.5 to 1.1; 1 is what training ended with. Farther out an answer begins and then turns into a refusal, and
# harmless prompts that were declined without its being their first words are not counted here.
STRENGTHS = tuple(step / 20 for step in range(10, 23))
LEAST_PROMPTS = 50
_OPENING = 3  # tokens: "I", "'m", "sorry"; by then an answer has declined or not
_COMMON = 0.02  # of all refusals, for an opening to count; each costs a branch of every prompt
_COVERED = 0.6  # of all refusals, for the common openings to speak for them
_BATCH = 16  # prompts


@dataclass(frozen=True)
class Strength:
    """What was chosen, and `tried`: strength → share of the `prompts` prompts it begins to refuse."""

    chosen: float
    target: float
    prompts: int
    tried: Mapping[float, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "chosen": self.chosen,
            "target_err": self.target,
            "prompts": self.prompts,
            "err": self.tried[self.chosen],
            "tried": [{"strength": at, "err": err} for at, err in sorted(self.tried.items())],
        }


class Line:
    """A model's trainable weights from where they are now (strength 0) to where training takes them (1)."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._start = {name: weight.detach().clone() for name, weight in _trainable(model)}
        self._end: dict[str, torch.Tensor] = {}

    def ends_here(self) -> None:
        self._end = {name: weight.detach().clone() for name, weight in _trainable(self._model)}

    @torch.no_grad()
    def move_to(self, strength: float) -> None:
        for name, weight in _trainable(self._model):
            weight.copy_(
                self._end[name] if strength == 1 else self._start[name].lerp(self._end[name], strength)
            )


def _trainable(model: Any) -> list[tuple[str, torch.Tensor]]:
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]


def largest_within(share: Callable[[float], float], target: float, prompts: int) -> Strength:
    """The largest of STRENGTHS to be reached from 1 without passing one whose `share` is beyond `target`.

    Upwards one by one: farther out a policy loses its thread, and begins fewer refusals again. Below 1, where
    it refuses less the nearer it is to where training began, by bisection. Where none is within, the one of
    those tried with the least share, and of equals the largest: weakening what does not move costs refusals
    of harmful prompts and spares no harmless one.
    """
    tried: dict[float, float] = {}

    def within(strength: float) -> bool:
        tried[strength] = share(strength)
        return tried[strength] <= target

    weaker = [strength for strength in STRENGTHS if strength < 1]
    if within(1.0):
        chosen = 1.0
        for strength in STRENGTHS:
            if strength > 1:
                if not within(strength):
                    break
                chosen = strength
        return Strength(chosen, target, prompts, tried)
    low, high = -1, len(weaker)  # the first is taken to be within, the last to be beyond
    while high - low > 1:
        middle = (low + high) // 2
        if within(weaker[middle]):
            low = middle
        else:
            high = middle
    chosen = weaker[low] if low >= 0 else min(tried, key=lambda strength: (tried[strength], -strength))
    return Strength(chosen, target, prompts, tried)


def refusal_openings(rows: Sequence[Mapping[str, Any]], tokenizer: Any) -> list[tuple[int, ...]]:
    """The commonest beginnings of the chosen answers to harmful prompts, as token ids.

    NotEnoughData where there are none, or where hardly two begin alike.
    """
    begun: Counter[tuple[int, ...]] = Counter()
    for row in rows:
        if row["harmful"]:
            ids = tokenizer(row["chosen"], add_special_tokens=False)["input_ids"]
            begun[tuple(ids[:_OPENING])] += 1
    if not begun:
        raise NotEnoughData("target_err: no pair on a harmful prompt shows how a refusal begins")
    common = [ids for ids, count in begun.items() if count >= _COMMON * begun.total()]
    covered = sum(begun[ids] for ids in common) / begun.total()
    if covered < _COVERED:
        raise NotEnoughData(
            f"target_err: refusals begin in too many ways to tell them by it (the common ones are "
            f"{covered:.0%} of {begun.total()}, at least {_COVERED:.0%} are needed); leave target_err out"
        )
    # What follows a shorter one would count twice.
    return sorted(
        ids for ids in common if not any(ids != other and other == ids[: len(other)] for other in common)
    )


@torch.no_grad()
def begins_refusing(
    model: Any, tokenizer: Any, prompts: Sequence[str], openings: Sequence[tuple[int, ...]]
) -> torch.Tensor:
    """(prompts,) Does the greedy answer begin with one of `openings`?

    Each token must be the likeliest after those before it. The probability of an opening as a whole tells
    less: where three beginnings share it, one with 0.4 is where the answer goes.
    """
    bare = bare_model(model)
    device = next(model.parameters()).device
    asked = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        for prompt in prompts
    ]
    found = torch.zeros(len(asked), dtype=torch.bool, device=device)
    order = sorted(range(len(asked)), key=lambda index: len(asked[index]))
    for start in range(0, len(order), _BATCH):
        branches = [(index, opening) for index in order[start : start + _BATCH] for opening in openings]
        width = max(len(asked[index]) + len(opening) for index, opening in branches)
        ids = torch.zeros(len(branches), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        told: list[tuple[int, int]] = []  # row and column of each token of an opening
        for row, (index, opening) in enumerate(branches):
            text = [*asked[index], *opening]
            ids[row, : len(text)] = torch.tensor(text)
            mask[row, : len(text)] = 1
            told += [(row, column) for column in range(len(asked[index]), len(text))]
        rows, columns = torch.tensor(told, device=device).T
        ids = ids.to(device)
        hidden = bare.base_model(
            input_ids=ids, attention_mask=mask.to(device), use_cache=False
        ).last_hidden_state[rows, columns - 1]  # a token is told by the hidden state before it
        missed = bare.get_output_embeddings()(hidden).argmax(-1) != ids[rows, columns]
        begun = torch.ones(len(branches), dtype=torch.bool, device=device)
        begun[rows[missed]] = False
        places = torch.tensor([index for index, _ in branches], device=device)
        found[places[begun]] = True
    return found.cpu()


class StrengthSearch:
    """Made before training, so that what is missing is told at once; `settle` after it.

    `rows` are the candidate's pairs, which show how refusals begin; `harmless` the prompts to count them on.
    NotEnoughData with fewer than LEAST_PROMPTS of those, or where refusals hardly begin alike.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        rows: Sequence[Mapping[str, Any]],
        harmless: Sequence[str],
        target: float,
    ) -> None:
        if len(harmless) < LEAST_PROMPTS:
            raise NotEnoughData(
                f"target_err: {len(harmless)} harmless prompts are held out, and at least {LEAST_PROMPTS} "
                "are needed to set a candidate's strength on (at most half of the train split's harmless "
                "base prompts are taken): add harmless prompts to the source, or leave target_err out"
            )
        self._model, self._tokenizer, self._harmless, self._target = model, tokenizer, harmless, target
        self._openings = refusal_openings(rows, tokenizer)
        self._line = Line(model)

    def settle(self, report: Callable[[dict[str, Any]], None]) -> Strength:
        """Move the trained model to where it begins to refuse at most the target of the harmless prompts."""
        self._line.ends_here()

        def share(strength: float) -> float:
            self._line.move_to(strength)
            told = begins_refusing(self._model, self._tokenizer, self._harmless, self._openings)
            err = int(told.sum()) / len(self._harmless)
            report({"event": "strength", "strength": strength, "err": err, "prompts": len(self._harmless)})
            return err

        found = largest_within(share, self._target, len(self._harmless))
        self._line.move_to(found.chosen)
        return found
