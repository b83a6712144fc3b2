"""Which questions a cycle asks: pure, seeded, the same again after a restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from policies.digests import seed_from
from policies.errors import ConfigurationError
from policies.records import PLAIN, Ask, Context, Prompt, Sampling
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


def read_context(path: Path) -> Context:
    """Worked examples from a YAML file of `name` and `messages`. ConfigurationError names what is wrong."""
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        messages = tuple((message["role"], message["content"].strip()) for message in raw["messages"])
        context = Context(str(raw["name"]), messages)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"worked examples {path}: must hold name and messages with role and content ({error})"
        ) from error
    roles = [role for role, _ in messages]
    body = roles[1:] if roles[:1] == ["system"] else roles
    if body != ["user", "assistant"] * (len(body) // 2) or not body:
        raise ConfigurationError(f"worked examples {path}: user and assistant messages must alternate")
    return context


def training_asks(
    prompts: Sequence[Prompt],
    worked: Context,
    over_cautious: Context,
    *,
    max_new_tokens: int,
    temperature: float,
    harmless_temperature: float,
    top_k: int,
    seed: int,
) -> list[Ask]:
    """Two asks a prompt: the plain question, and one sample under examples.

    Harmful prompts are asked plainly at temperature 0, for what people meet, and put under `worked` (what
    should be said). Harmless ones are asked plainly at `harmless_temperature`, since their good answers are
    learnt from and learning from greedy answers narrows the policy, and put under `over_cautious` (what
    should not be said).
    """
    plain = Sampling(max_new_tokens, 0.0, top_k, PLAIN)
    spread = Sampling(max_new_tokens, harmless_temperature, top_k, PLAIN)
    safe, timid = (Sampling(max_new_tokens, temperature, top_k, one) for one in (worked, over_cautious))
    return [
        *(
            Ask(prompt, plain, 0)
            if prompt.harmful_level or not harmless_temperature
            else Ask(prompt, spread, seed_from("plain", prompt.digest))
            for prompt in prompts
        ),
        *(
            Ask(prompt, safe if prompt.harmful_level else timid, seed_from(seed, prompt.digest))
            for prompt in prompts
        ),
    ]


def evaluation_asks(prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[Ask]:
    """The plain question, greedy: what the policy says to people."""
    return [Ask(prompt, Sampling(max_new_tokens, 0.0), 0) for prompt in prompts]
