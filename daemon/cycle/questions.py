"""Which questions a cycle asks: pure, seeded, the same again after a restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policies.records import Ask, Prompt, Sampling
from policies.splits import Splits, sample


@dataclass(frozen=True)
class Amounts:
    """How many prompts of each split, in what mix. Shares sum to anything; they are relative."""

    train: int
    selection: int
    sealed: int
    level_shares: Mapping[int, float]
    train_level_shares: Mapping[int, float]
    method_weights: Mapping[str, float]
    train_hard_benign_share: float
    hard_benign_share: float


@dataclass(frozen=True)
class Questions:
    """The prompts of a cycle.

    Selection and sealed prompts are the same in every cycle, so that policies compare.
    """

    train: tuple[Prompt, ...]
    selection: tuple[Prompt, ...]
    sealed: tuple[Prompt, ...]


def choose(splits: Splits, amounts: Amounts, *, cycle_seed: int, split_seed: int) -> Questions:
    """Train prompts change from cycle to cycle with its seed; the other two only with the split's seed."""

    def some(
        prompts: Sequence[Prompt], count: int, seed: int, hard: float, shares: Mapping[int, float]
    ) -> tuple[Prompt, ...]:
        return tuple(
            sample(
                prompts,
                count,
                seed=seed,
                level_shares=shares,
                hard_benign_share=hard if any(prompt.hard_benign for prompt in prompts) else None,
                method_weights=amounts.method_weights,
            )
        )

    return Questions(
        train=some(
            splits.train,
            amounts.train,
            cycle_seed,
            amounts.train_hard_benign_share,
            amounts.train_level_shares,
        ),
        selection=some(
            splits.selection, amounts.selection, split_seed, amounts.hard_benign_share, amounts.level_shares
        ),
        sealed=some(
            splits.sealed, amounts.sealed, split_seed, amounts.hard_benign_share, amounts.level_shares
        ),
    )


def evaluation_asks(prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[Ask]:
    """The plain question, greedy: what the policy says to people."""
    return [Ask(prompt, Sampling(max_new_tokens, 0.0), 0) for prompt in prompts]
