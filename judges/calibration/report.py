"""What is known of a judge after it was held against labelled answers. Frozen; survives JSON unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from policies.errors import DataError

Matrix = tuple[tuple[int, ...], ...]  # [true][judged], in the order of cares.LABELS
VERSION = 1


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, by a bootstrap over prompts."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassFigures:
    """One label: of those judged so, how many are so; of those that are so, how many are judged so."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Slice:
    """Agreement on some rows. `kappa` is None where undefined: one label only, or nothing scored."""

    n: int
    unscored: int
    accuracy: float | None
    macro_f1: float | None
    kappa: Estimate | None
    classes: Mapping[str, ClassFigures]
    confusion: Matrix


@dataclass(frozen=True)
class VerbosityBias:
    """Does length move the judge? Differences are long minus short answers, split at the median length.

    `error` is the share of wrong labels; `accept` the share judged Accept; `excess_accept` that share less
    the true one, so that it does not blame the judge for long answers that *are* Accepts. Correlations are
    Spearman's with length in characters; None where length or outcome does not vary.
    """

    median_length: float
    error_difference: Estimate | None
    accept_difference: Estimate | None
    excess_accept_difference: Estimate | None
    error_correlation: float | None
    accept_correlation: float | None


@dataclass(frozen=True)
class PositionBias:
    """Does the order of the offered labels move the judge? Over all three rotations of the order.

    `shares` are the shares of verdicts for the label that stood first, second, third: 1/3 each where order
    does not matter. `spread` is the largest less the smallest. `changed` is the share of rows whose label
    is not the same in all rotations; `accuracy_difference` the best rotation's accuracy less the worst's.
    """

    shares: tuple[float, ...]
    spread: float
    changed: float
    accuracy_difference: float
    n: int


@dataclass(frozen=True)
class Confidence:
    """How far the judge's probabilities mean what they say, as given and after temperature scaling.

    The temperature is fitted on the same rows: one parameter, so the figures after it flatter little.
    `bins` are the reliability diagram's bars: rows, mean confidence, accuracy; 15 of equal width.
    """

    n: int
    temperature: float
    ece_before: float
    ece_after: float
    brier_before: float
    brier_after: float
    nll_before: float
    nll_after: float
    bins_before: tuple[tuple[float, float, float], ...]
    bins_after: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class CalibrationReport:
    """One judge, one set of labels, one time. `at` has a time zone."""

    judge_name: str
    judge_digest: str
    labels_digest: str
    at: datetime
    seed: int
    resamples: int
    overall: Slice
    by_level: Mapping[str, Slice]
    by_principle: Mapping[str, Slice]
    by_method: Mapping[str, Slice]
    by_length: Mapping[str, Slice]
    verbosity: VerbosityBias | None
    position: PositionBias | None
    confidence: Confidence | None

    @property
    def n(self) -> int:
        return self.overall.n

    @property
    def unscored(self) -> int:
        return self.overall.unscored

    @property
    def unscored_share(self) -> float:
        return self.overall.unscored / self.overall.n

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; holds figures and no judged text."""
        value: dict[str, Any] = json.loads(json.dumps(asdict(self), default=_plain, allow_nan=False))
        return {"version": VERSION, **value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CalibrationReport:
        """The report that `to_json` wrote. DataError where it is none."""
        if value.get("version") != VERSION:
            raise DataError(
                f"calibration report: version {value.get('version')!r} is not {VERSION}; "
                "calibrate the judge again"
            )
        try:
            return _report(value)
        except (KeyError, TypeError, ValueError) as problem:
            raise DataError(
                f"calibration report: {type(problem).__name__} at {problem}; calibrate the judge again"
            ) from problem


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _report(value: Mapping[str, Any]) -> CalibrationReport:
    slices = {
        name: {key: _slice(each) for key, each in value[name].items()}
        for name in ("by_level", "by_principle", "by_method", "by_length")
    }
    return CalibrationReport(
        judge_name=value["judge_name"],
        judge_digest=value["judge_digest"],
        labels_digest=value["labels_digest"],
        at=datetime.fromisoformat(value["at"]),
        seed=value["seed"],
        resamples=value["resamples"],
        overall=_slice(value["overall"]),
        **slices,
        verbosity=_verbosity(value["verbosity"]),
        position=_position(value["position"]),
        confidence=_confidence(value["confidence"]),
    )


def _estimate(value: Mapping[str, float] | None) -> Estimate | None:
    return None if value is None else Estimate(**value)


def _slice(value: Mapping[str, Any]) -> Slice:
    rest = {
        "kappa": _estimate(value["kappa"]),
        "classes": {label: ClassFigures(**figures) for label, figures in value["classes"].items()},
        "confusion": tuple(tuple(row) for row in value["confusion"]),
    }
    return Slice(**{**value, **rest})


def _verbosity(value: Mapping[str, Any] | None) -> VerbosityBias | None:
    if value is None:
        return None
    estimates = {name: _estimate(value[name]) for name in value if name.endswith("_difference")}
    return VerbosityBias(**{**value, **estimates})


def _position(value: Mapping[str, Any] | None) -> PositionBias | None:
    return None if value is None else PositionBias(**{**value, "shares": tuple(value["shares"])})


def _confidence(value: Mapping[str, Any] | None) -> Confidence | None:
    if value is None:
        return None
    bins = {name: tuple(tuple(bar) for bar in value[name]) for name in ("bins_before", "bins_after")}
    return Confidence(**{**value, **bins})
