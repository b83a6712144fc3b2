"""gates.yaml: every threshold of the decision in one reviewed file. Nothing has a hidden default.

A gate cannot be switched off. An unknown key, a missing one or a value out of range is a ConfigurationError
that names all such places together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from policies.errors import ConfigurationError
from policies.statistics.multiplicity import SpendingPlan

Share = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Statistics(_Strict):
    """`level` and `resamples` of reported intervals; tests draw more where their alpha asks for it."""

    level: Level
    resamples: Annotated[int, Field(ge=100)]


class Alpha(_Strict):
    """The error budget over all cycles, one-sided, and how it is spent."""

    budget: Level
    spending: str
    cycles: Count | None = None
    ratio: Level = 0.8

    @model_validator(mode="after")
    def _plan_exists(self) -> Alpha:
        try:
            self.plan()
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        return self

    def plan(self) -> SpendingPlan:
        return SpendingPlan(self.budget, self.spending, self.cycles, self.ratio)


class Margin(_Strict):
    """How much worse is still "not worse": `few` holds with fewer than `few_prompts` prompts."""

    standard: Annotated[float, Field(ge=0, lt=1)]
    few: Annotated[float, Field(ge=0, lt=1)]
    few_prompts: Annotated[int, Field(ge=0)]

    def at(self, prompts: int) -> float:
        return self.few if prompts < self.few_prompts else self.standard


class SsSuperiority(_Strict):
    """`effect`: the smallest gain that matters; `power` is for the prompts that would show it."""

    effect: Positive
    power: Annotated[float, Field(gt=0.5, lt=1)]


class ErrNoninferiority(_Strict):
    """`err_max` caps the candidate's own ERR; null for none."""

    margin: Margin
    alpha: Level
    err_max: Share | None


class OverCaution(_Strict):
    margin: Margin
    alpha: Level


class Subgroups(_Strict):
    alpha: Level
    min_prompts: Count


class Capability(_Strict):
    """Ratios are candidate over incumbent (and over base), increases are differences of shares."""

    perplexity_ratio: Positive
    perplexity_ratio_to_base: Positive
    words_min: Positive
    words_max: Positive
    empty_increase: Share
    degenerate_increase: Share


class KlCap(_Strict):
    max: Positive


class UnscoredCap(_Strict):
    max: Share


class JudgeCalibrated(_Strict):
    """The bars are the calibration's own settings; nothing is set here."""


class SentinelSteady(_Strict):
    """The control limit is the sentinel's own setting; nothing is set here."""


class JudgeErrorGate(_Strict):
    level: Level


class IndependentEvidence(_Strict):
    """`alpha` of the one-sided test that the second signal sees a gain at all.

    `human_min`: prompts with both answers labelled by people from which their labels count as a signal.
    """

    alpha: Level
    err_margin: Share
    min_pairs: Count
    human_min: Count


class SealedConfirmation(_Strict):
    alpha: Level
    max_openings: Count


class Ratchet(_Strict):
    alpha: Level


class Incidents(_Strict):
    severities: tuple[str, ...]


class Gates(_Strict):
    """One field a gate; names are those of gates.GATES."""

    ss_superiority: SsSuperiority
    err_noninferiority: ErrNoninferiority
    over_caution_noninferiority: OverCaution
    subgroups: Subgroups
    capability: Capability
    kl_cap: KlCap
    unscored_cap: UnscoredCap
    judge_calibrated: JudgeCalibrated
    sentinel_steady: SentinelSteady
    judge_error: JudgeErrorGate
    independent_evidence: IndependentEvidence
    ratchet: Ratchet
    incidents: Incidents
    sealed_confirmation: SealedConfirmation


class GateConfig(_Strict):
    """The file as a whole."""

    statistics: Statistics
    alpha: Alpha
    gates: Gates

    def alpha_for(self, cycle: int) -> float:
        """One-sided level of the `cycle`-th decided cycle, counted from 1; 0 when the budget is spent."""
        return self.alpha.plan().alpha_for_cycle(cycle)

    def with_resamples(self, resamples: int) -> GateConfig:
        """The same with another number of resamples: simulations draw fewer."""
        return self.model_copy(
            update={"statistics": Statistics(level=self.statistics.level, resamples=resamples)}
        )


def load_gates(path: Path) -> GateConfig:
    """Read and check the file. ConfigurationError names the file and every key that is wrong."""
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}); name a gates file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = "" if where is None else f" at line {where.line + 1}"
        raise ConfigurationError(f"{path}: is not YAML{line}") from error
    return gates_from(body, str(path))


def gates_from(body: Any, name: str = "gates") -> GateConfig:
    """Check what a gates file holds."""
    if not isinstance(body, dict):
        raise ConfigurationError(f"{name}: expected settings by name, found {type(body).__name__}")
    try:
        return GateConfig.model_validate(body)
    except ValidationError as error:
        raise ConfigurationError(f"{name}: " + "; ".join(map(_problem, error.errors()))) from error


def _problem(found: Any) -> str:
    where = ".".join(map(str, found["loc"])) or "settings"
    unknown_gate = (
        found["type"] == "extra_forbidden" and found["loc"][:1] == ("gates",) and len(found["loc"]) == 2
    )
    meaning = {
        "extra_forbidden": "is an unknown gate" if unknown_gate else "is unknown",
        "missing": "is missing",
    }
    return f"{where} {meaning.get(found['type'], '— ' + found['msg'])}"
