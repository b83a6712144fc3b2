"""What one cycle does, in plain values: made from the settings by planning.py, read by the stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from daemon.cycle.questions import Questions
from daemon.cycle.training_asks import TrainingSampling
from policies.splits import Splits
from policies.training.recipe import Recipe
from policies.validation.config import GateConfig


@dataclass(frozen=True)
class Plan:
    """`recipes` by the candidate's name; `max_new_tokens` of evaluated answers.

    `race_looks` of 1 is no race; `labelled_prompts` of 0 waits for nobody; `replay_cycles` of 0
    learns from this cycle's answers alone.
    """

    splits: Splits
    split_seed: int
    questions: Questions
    sampling: TrainingSampling
    gates: GateConfig
    recipes: Mapping[str, Recipe]
    references: tuple[tuple[str, str], ...]
    train_judge: str
    validate_judge: str
    second_judge: str | None
    max_new_tokens: int
    max_unscored: float
    least: int
    max_pairs: int | None
    max_examples: int | None
    training_timeout_s: float
    threads: int | None
    dtype: str
    race_looks: int
    race_error: float
    labelled_prompts: int = 0
    replay_cycles: int = 0
    borrow_refusals: bool = False
    harmful_ratio: float = 1.0
    balance_methods: bool = False
