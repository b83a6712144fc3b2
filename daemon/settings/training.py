"""What is trained, and how candidates are compared."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from daemon.settings.sections import Section
from policies.errors import ConfigurationError
from policies.training.recipe import Recipe

# A candidate's name is a folder's, a file's and a metric's label, and stands beside these.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_TAKEN = frozenset({"base", "compared", "deployed", "incumbent", "race", "report"})


class RecipeSettings(Section):
    """One candidate to train each cycle; its name is its key."""

    method: Literal["dpo", "kto"]
    epochs: float = Field(default=1.0, gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    batch_size: int = Field(default=8, ge=1)
    gradient_accumulation: int = Field(default=1, ge=1)
    beta: float = Field(default=0.1, gt=0)
    sft_weight: float = Field(default=1.0, ge=0)
    desirable_weight: float = Field(default=1.0, gt=0)
    undesirable_weight: float = Field(default=1.0, gt=0)
    lora_rank: int = Field(default=16, ge=1)
    frozen_layers: int = Field(default=0, ge=0)
    lora_alpha: int = Field(default=32, ge=1)
    target_modules: str | tuple[str, ...] = "all-linear"
    max_length: int = Field(default=256, ge=16)
    answer_tokens: int | None = Field(default=None, ge=4)
    whole_share: float = Field(default=0.0, ge=0, le=1)
    reference_weight: float = Field(default=1.0, ge=0, le=1)
    target_err: float | None = Field(default=None, gt=0, lt=1)
    least_err: float | None = Field(default=None, gt=0, lt=1)
    decision_tokens: int | None = Field(default=None, ge=1)
    warmup_steps: int = Field(default=3, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)

    def recipe(self) -> Recipe:
        """What these settings train with. ConfigurationError where they contradict each other."""
        return Recipe(**self.model_dump())

    @model_validator(mode="after")
    def _makes_a_recipe(self) -> RecipeSettings:
        try:
            self.recipe()
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        return self


class TrainingSettings(Section):
    """`replay_cycles`: pairs and examples are also made of what so many earlier cycles asked and had judged.

    `prefer_refusals`: of two answers to a mildly harmful prompt that the CARES table scores alike, a refusal
    is chosen over caution, and caution is never chosen. Without it pairs come of what the table tells apart.

    `settle_for_caution`: of a harmless prompt none of whose answers was accepted, caution is chosen over
    refusal. The table scores both 0; without this a policy never learns not to refuse what it hedges about.

    `borrow_refusals`: a prompt of which no refusal was said is lent one that the policy said word for word
    about several others of its kind, harmful or harmless. For policies that decline in few sentences.

    `harmful_ratio`: DPO pairs on harmful prompts, at most, for each one on a harmless prompt. More of them
    move a policy towards refusing, what is harmless included. (Of KTO's examples there are never more on
    harmful prompts.) With `balance_methods` that holds for each method of asking: where role play mostly
    comes with harmful prompts, role play itself is soon refused.

    `held_out_prompts`: up to so many harmless prompts of the train split are not asked, and nothing is learnt
    of their base prompts (of which never more than half are taken); on them it is settled how readily a
    candidate with `target_err` refuses.
    """

    candidates: dict[str, RecipeSettings] = Field(
        default_factory=lambda: {"dpo": RecipeSettings(method="dpo"), "kto": RecipeSettings(method="kto")}
    )
    max_pairs: int | None = Field(default=None, ge=8)
    max_examples: int | None = Field(default=None, ge=16)
    replay_cycles: int = Field(default=3, ge=0)
    prefer_refusals: bool = False
    settle_for_caution: bool = False
    borrow_refusals: bool = False
    harmful_ratio: float = Field(default=1.0, gt=0, le=4)
    balance_methods: bool = False
    held_out_prompts: int = Field(default=160, ge=50)
    least: int = Field(default=16, ge=2)
    timeout_s: float = Field(default=7200, gt=0)

    @property
    def holds_out(self) -> bool:
        """Does any candidate need harmless prompts that it does not learn from?"""
        return any(recipe.target_err is not None for recipe in self.candidates.values())

    @model_validator(mode="after")
    def _some(self) -> TrainingSettings:
        if not self.candidates:
            raise ValueError("training.candidates must name at least one candidate")
        for name in self.candidates:
            if not _NAME.fullmatch(name) or name in _TAKEN:
                raise ValueError(
                    f"training.candidates: {name!r} cannot be a candidate's name: use up to 40 letters, "
                    f"digits, _ and -, and none of {', '.join(sorted(_TAKEN))}"
                )
        return self

    @model_validator(mode="after")
    def _room(self) -> TrainingSettings:
        """KTO needs `least` examples of each of its two classes (and four of each of its four kinds)."""
        for name, most, needed in (
            ("max_pairs", self.max_pairs, self.least),
            ("max_examples", self.max_examples, 2 * self.least),
        ):
            if most is not None and most < needed:
                raise ValueError(
                    f"training.{name} is {most}, but training.least = {self.least} asks for {needed}: "
                    f"raise training.{name} to {needed} or more, or lower training.least"
                )
        return self


class RaceSettings(Section):
    """Selection prompts are asked in `looks` parts; who cannot win any more is stopped between them.

    `error` is the chance that the true best is ever stopped. One look is no race.
    """

    looks: int = Field(default=4, ge=1, le=100)
    error: float = Field(default=0.05, gt=0, lt=1)


class ValidationSettings(Section):
    """How candidates are compared; what decides is in the file `gates`.

    With `labelled_prompts` above 0 a cycle is held before its decision until people have labelled the
    incumbent's and the candidate's answers to so many selection prompts.
    """

    race: RaceSettings = RaceSettings()
    labelled_prompts: int = Field(default=0, ge=0)
