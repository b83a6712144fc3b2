"""How readily a candidate refuses, settled on harmless prompts that it did not learn from.

Trained on a few hundred pairs, a small policy tells harmful from harmless about equally well whatever the
seed, but how readily it refuses is chance: one recipe on the same prompts refused 4 of 72 harmless ones on
one processor and 13 on another, whose products are rounded otherwise. Making what it learnt weaker moves
harmful and harmless alike. So one that refuses too readily is shown a few more batches after training, of
harmless rows alone, and its weights go as far along the line to there as it has to (a line of weights, as
in WiSE-FT, arXiv 2109.01903). One that refuses less than it may is shown harmful ones, and goes as far as
it may: of classifiers that err alike often on what is harmless, the one is wanted that misses least harm
(Neyman and Pearson). Selection and sealed prompts have no part in it: what the gates measure stays unseen.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from policies.errors import NotEnoughData
from policies.training.refusing import refusal_openings, refuses, wanted_of_harmful
from policies.training.trainers import KIND

LEAST_PROMPTS = 50
_BATCHES = 8  # of rows of one kind, shown after training
_RATE = 0.25  # of the recipe's rate, to which they warm up
_WARMUP = 3
# Parts of the line to where they lead, in the order in which they are tried. 160 prompts hardly tell more of
# them apart, and where harmful rows lead, at 1, nearly a third of harmless prompts was refused.
_ANSWERING = (0.125, 0.25, 0.5, 1.0)
_REFUSING = (-0.125, -0.25, -0.375)


@dataclass(frozen=True)
class Lean:
    """What was chosen, and `tried`: lean → share of the `prompts` held-out prompts that it refuses.

    A lean is a part of a line, in [-1, 1]: 0 where training ended, 1 where harmless batches led, -1 where
    harmful ones did. `least`: the share below which it is moved towards refusing, 0 for never.
    """

    chosen: float
    target: float
    prompts: int
    tried: Mapping[float, float] = field(default_factory=dict)
    least: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "chosen": self.chosen,
            "target_err": self.target,
            "least_err": self.least,
            "prompts": self.prompts,
            "err": self.tried[self.chosen],
            "tried": [{"lean": at, "err": err} for at, err in sorted(self.tried.items())],
        }


def settle(share: Callable[[float], float], target: float, prompts: int, least: float = 0.0) -> Lean:
    """0 where the `share` at training's end lies between `least` and `target`.

    Above, the first lean towards answering that is within the target, or one half a step nearer to training's
    end, if that is: what is leant too far is paid for with harmful requests that are answered. Where none is
    within, of those with the least share the one nearest to training's end. Below, the last lean towards
    refusing before one that is not within.
    """
    tried = {0.0: share(0.0)}

    def within(lean: float) -> bool:
        tried[lean] = share(lean)
        return tried[lean] <= target

    if tried[0.0] > target:
        found = next(filter(within, _ANSWERING), None)
        if found is None:
            found = min(tried, key=lambda lean: (tried[lean], lean))
        elif within(between := (found + max(lean for lean in tried if lean < found)) / 2):
            found = between
    elif tried[0.0] < least:
        found = min(itertools.takewhile(within, _REFUSING), default=0.0)
    else:
        found = 0.0
    return Lean(found, target, prompts, tried, least)


class LeanSearch:
    """Made before training, so that what is missing is told at once; `settle` after it.

    `trainer` is TRL's, its rows told apart by KIND. `rows` are the candidate's pairs or examples, which show
    how refusals begin; `harmless` the prompts to count them on. NotEnoughData with fewer than LEAST_PROMPTS
    of those, or where refusals hardly begin alike.
    """

    def __init__(
        self,
        trainer: Any,
        tokenizer: Any,
        *,
        rows: Sequence[Mapping[str, Any]],
        harmless: Sequence[str],
        target: float,
        least: float = 0.0,
    ) -> None:
        if len(harmless) < LEAST_PROMPTS:
            raise NotEnoughData(
                f"target_err: {len(harmless)} harmless prompts are held out, and at least {LEAST_PROMPTS} "
                "are needed to see how readily a candidate refuses (at most half of the train split's "
                "harmless base prompts are taken): add harmless prompts to the source, or unset target_err"
            )
        self._trainer, self._tokenizer, self._harmless = trainer, tokenizer, harmless
        self._target, self._least = target, least
        self._openings = refusal_openings(wanted_of_harmful(rows), tokenizer)

    def settle(self, report: Callable[[dict[str, Any]], None]) -> Lean:
        """Move the trained model to where it refuses of the harmless prompts what it may."""
        trained = _Weights(self._trainer.model)
        led: dict[bool, _Weights] = {}  # whether by harmful batches → to where

        def move_to(lean: float) -> None:
            trained.put_back()
            if not lean:
                return
            if (harmful := lean < 0) not in led:
                self._show(harmful=harmful)
                led[harmful] = _Weights(self._trainer.model)
            trained.move_towards(led[harmful], abs(lean))

        def share(lean: float) -> float:
            move_to(lean)
            told = refuses(self._trainer.model, self._tokenizer, self._harmless, self._openings)
            err = sum(told) / len(told)
            report({"event": "lean", "lean": lean, "err": err, "prompts": len(told)})
            return err

        found = settle(share, self._target, len(self._harmless), self._least)
        move_to(found.chosen)
        return found

    def _show(self, *, harmful: bool) -> None:
        """A few steps on rows of one kind alone."""
        trainer, arguments = self._trainer, self._trainer.args
        weights = [weight for weight in trainer.model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=0.0, weight_decay=0.0)
        for step, batch in enumerate(self._batches(harmful)):
            for group in optimizer.param_groups:
                group["lr"] = _RATE * arguments.learning_rate * min(1.0, (step + 1) / _WARMUP)
            loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs(trainer.data_collator(batch)))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, arguments.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()

    def _batches(self, harmful: bool) -> Iterator[list[Any]]:
        data, size = self._trainer.train_dataset, self._trainer.args.per_device_train_batch_size
        chosen = [row for row, kind in enumerate(data[KIND]) if bool(kind) == harmful]
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
