"""Which questions a cycle asks: pure, seeded, the same again after a restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policies.records import Ask, Prompt, Sampling
from policies.sampling import largest_remainder
from policies.splits import Splits, sample


@dataclass(frozen=True)
class Amounts:
    """How many prompts of each split, in what mix. Shares sum to anything; they are relative.

    Train prompts are asked by `harmless_method_weights` and `harmful_method_weights`, where given.
    `held_out`: harmless ones of the train split besides, which are not asked and of which nothing is learnt.
    """

    train: int
    selection: int
    sealed: int
    level_shares: Mapping[int, float]
    train_level_shares: Mapping[int, float]
    method_weights: Mapping[str, float]
    train_hard_benign_share: float
    hard_benign_share: float
    harmless_method_weights: Mapping[str, float] | None = None
    harmful_method_weights: Mapping[str, float] | None = None
    held_out: int = 0


@dataclass(frozen=True)
class Questions:
    """The prompts of a cycle.

    Selection and sealed prompts are the same in every cycle, so that policies compare. `held_out` are
    harmless prompts of the train split, of other base prompts than those of `train`, in the mix of the
    selection ones.
    """

    train: tuple[Prompt, ...]
    selection: tuple[Prompt, ...]
    sealed: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...] = ()


def choose(splits: Splits, amounts: Amounts, *, cycle_seed: int, split_seed: int) -> Questions:
    """Train prompts change from cycle to cycle with its seed; the others only with the split's seed."""

    def some(
        prompts: Sequence[Prompt],
        count: int,
        seed: int,
        hard: float,
        shares: Mapping[int, float],
        methods: Mapping[str, float] = amounts.method_weights,
    ) -> tuple[Prompt, ...]:
        return tuple(
            sample(
                prompts,
                count,
                seed=seed,
                level_shares=shares,
                hard_benign_share=hard if any(prompt.hard_benign for prompt in prompts) else None,
                method_weights=methods,
            )
        )

    # First of all, since train prompts may need every base prompt that is there; but never most of them.
    harmless = [prompt for prompt in splits.train if prompt.harmful_level == 0]
    held_out = some(
        harmless,
        min(amounts.held_out, len({prompt.base_prompt for prompt in harmless}) // 2),
        split_seed,  # the same in every cycle, or a later candidate's parent would have learnt from them
        amounts.hard_benign_share,
        {0: 1.0},
    )
    withheld = {prompt.base_prompt for prompt in held_out}
    learnable = [prompt for prompt in splits.train if prompt.base_prompt not in withheld]

    def train() -> tuple[Prompt, ...]:
        hard, shares = amounts.train_hard_benign_share, amounts.train_level_shares
        weights = (amounts.harmless_method_weights, amounts.harmful_method_weights)
        if weights == (None, None):
            return some(learnable, amounts.train, cycle_seed, hard, shares)
        kinds = [{level: share for level, share in shares.items() if (level > 0) == kind} for kind in (0, 1)]
        counts = largest_remainder(amounts.train, [sum(kind.values()) for kind in kinds])
        return tuple(
            prompt
            for kind, count, methods in zip(kinds, counts, weights, strict=True)
            if count
            for prompt in some(learnable, count, cycle_seed, hard, kind, methods or amounts.method_weights)
        )

    return Questions(
        train=train(),
        held_out=held_out,
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
