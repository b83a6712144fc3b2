"""How readily a candidate refuses, settled on harmless prompts that it did not learn from.

Trained on a few hundred pairs, a small policy tells harmful from harmless about equally well whatever the
seed, but how readily it refuses is chance: one recipe on the same prompts refused 4 of 72 harmless ones on
one processor and 13 on another, whose products are rounded otherwise. Making what it learnt weaker moves
harmful and harmless alike. So one that refuses too readily is shown a few more batches after training, of
harmless pairs alone, and its weights go as far along the line to there as it has to (a line of weights, as
in WiSE-FT, arXiv 2109.01903). Selection and sealed prompts have no part in it: what the gates measure stays
unseen.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from policies.errors import NotEnoughData
from policies.training.refusing import refusal_openings, refuses
from policies.training.trainers import KIND

LEAST_PROMPTS = 50
_BATCHES = 8  # of harmless pairs, shown after training
_RATE = 0.25  # of the recipe's rate, to which they warm up
_WARMUP = 3
_PARTS = 4  # of the line to where they lead; 160 prompts hardly tell more of them apart


@dataclass(frozen=True)
class Lean:
    """What was chosen, and `tried`: lean → share of the `prompts` held-out prompts that it refuses.

    A lean is a part of the line, in [0, 1]: 0 where training ended, 1 where the harmless batches led.
    """

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
            "tried": [{"lean": at, "err": err} for at, err in sorted(self.tried.items())],
        }


def settle(share: Callable[[float], float], target: float, prompts: int) -> Lean:
    """The least lean whose `share` is within `target`: 0 where training ended within it, else by bisection.

    Where nothing tried is within, of those with the least share the one nearest to training's end.
    """
    tried: dict[float, float] = {}

    def within(lean: float) -> bool:
        tried[lean] = share(lean)
        return tried[lean] <= target

    if within(0.0):
        return Lean(0.0, target, prompts, tried)
    low, high = 0, _PARTS + 1  # parts of the line; beyond its end nothing is tried
    while high - low > 1:
        middle = (low + high) // 2
        if within(middle / _PARTS):
            high = middle
        else:
            low = middle
    if high <= _PARTS:
        return Lean(high / _PARTS, target, prompts, tried)
    return Lean(min(tried, key=lambda lean: (tried[lean], lean)), target, prompts, tried)


class LeanSearch:
    """Made before training, so that what is missing is told at once; `settle` after it.

    `trainer` is TRL's, its rows told apart by KIND. `rows` are the candidate's pairs, which show how refusals
    begin; `harmless` the prompts to count them on. NotEnoughData with fewer than LEAST_PROMPTS of those, or
    where refusals hardly begin alike.
    """

    def __init__(
        self,
        trainer: Any,
        tokenizer: Any,
        *,
        rows: Sequence[Mapping[str, Any]],
        harmless: Sequence[str],
        target: float,
    ) -> None:
        if len(harmless) < LEAST_PROMPTS:
            raise NotEnoughData(
                f"target_err: {len(harmless)} harmless prompts are held out, and at least {LEAST_PROMPTS} "
                "are needed to see how readily a candidate refuses (at most half of the train split's "
                "harmless base prompts are taken): add harmless prompts to the source, or unset target_err"
            )
        self._trainer, self._tokenizer, self._harmless, self._target = trainer, tokenizer, harmless, target
        self._openings = refusal_openings(rows, tokenizer)

    def settle(self, report: Callable[[dict[str, Any]], None]) -> Lean:
        """Move the trained model to where it refuses at most the target of the harmless prompts."""
        trained = _Weights(self._trainer.model)
        led: list[_Weights] = []

        def move_to(lean: float) -> None:
            trained.put_back()
            if lean and not led:
                self._show_harmless()
                led.append(_Weights(self._trainer.model))
            if lean:
                trained.move_towards(led[0], lean)

        def share(lean: float) -> float:
            move_to(lean)
            told = refuses(self._trainer.model, self._tokenizer, self._harmless, self._openings)
            err = sum(told) / len(told)
            report({"event": "lean", "lean": lean, "err": err, "prompts": len(told)})
            return err

        found = settle(share, self._target, len(self._harmless))
        move_to(found.chosen)
        return found

    def _show_harmless(self) -> None:
        """A few steps on harmless pairs alone."""
        trainer, arguments = self._trainer, self._trainer.args
        weights = [weight for weight in trainer.model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=0.0, weight_decay=0.0)
        for step, batch in enumerate(self._harmless_batches()):
            for group in optimizer.param_groups:
                group["lr"] = _RATE * arguments.learning_rate * min(1.0, (step + 1) / _WARMUP)
            loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs(trainer.data_collator(batch)))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, arguments.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()

    def _harmless_batches(self) -> Iterator[list[Any]]:
        data, size = self._trainer.train_dataset, self._trainer.args.per_device_train_batch_size
        chosen = [row for row, harmful in enumerate(data[KIND]) if not harmful]
        random.Random(self._trainer.args.seed).shuffle(chosen)
        while chosen and len(chosen) < _BATCHES * size:  # few rows are shown more than once
            chosen += chosen
        for start in range(0, min(len(chosen), _BATCHES * size), size):
            yield [data[row] for row in chosen[start : start + size]]


class _Weights:
    """A model's trainable weights as they are now."""

    def __init__(self, model: Any) -> None:
        self._live = [weight for weight in model.parameters() if weight.requires_grad]
        self._kept = [weight.detach().clone() for weight in self._live]

    @torch.no_grad()
    def put_back(self) -> None:
        for live, kept in zip(self._live, self._kept, strict=True):
            live.copy_(kept)

    @torch.no_grad()
    def move_towards(self, other: _Weights, part: float) -> None:
        """The live weights: `part` of the way from these to `other`."""
        for live, kept, there in zip(self._live, self._kept, other._kept, strict=True):
            live.copy_(kept.lerp(there, part))
