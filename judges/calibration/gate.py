"""May this judge train, may it validate? A reading of its last calibration against configured bars."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from judges.calibration.report import CalibrationReport
from policies.digests import short
from policies.errors import ConfigurationError

Use = Literal["train", "validate"]


@dataclass(frozen=True)
class Bars:
    """What a judge must show: κ (its interval's lower end), the age of the report, the unscored share."""

    train_kappa: float = 0.6
    validate_kappa: float = 0.7
    max_age_days: float = 90.0
    max_unscored: float = 0.05

    def __post_init__(self) -> None:
        for name in ("train_kappa", "validate_kappa"):
            if not -1.0 <= getattr(self, name) <= 1.0:
                raise ConfigurationError(f"{name}: {getattr(self, name)} is not between -1 and 1")
        if not 0.0 <= self.max_unscored <= 1.0:
            raise ConfigurationError(f"max_unscored: {self.max_unscored} is not between 0 and 1")
        if not self.max_age_days > 0:
            raise ConfigurationError(f"max_age_days: {self.max_age_days} is not above 0")

    def kappa(self, use: Use) -> float:
        return {"train": self.train_kappa, "validate": self.validate_kappa}[use]


@dataclass(frozen=True)
class GateResult:
    """`figure` was held against `threshold`, None where there is none. `mend` is a command, or empty."""

    allowed: bool
    figure: float | None
    threshold: float | None
    sentence: str
    mend: str = ""


def gate(
    report: CalibrationReport | None,
    *,
    judge_digest: str,
    use: Use,
    bars: Bars,
    now: datetime,
    judge_name: str | None = None,
) -> GateResult:
    """Whether the judge may be used. The first thing that forbids it is the one that is told.

    Forbidden without a report, with one of another digest, from the future or too old, with too many unscored
    rows, without κ, or with a κ whose interval's lower end lies below the bar of the use.
    """
    name = judge_name or (report.judge_name if report else "JUDGE")
    mend = f"primum judge calibrate {name} --labels FILE"

    def held(sentence: str, figure: float | None = None, threshold: float | None = None) -> GateResult:
        return GateResult(False, figure, threshold, f"judge {name} may not {use}: {sentence}", mend)

    if report is None:
        return held("it was never calibrated")
    if report.judge_digest != judge_digest:
        return held(
            f"its calibration is of digest {short(report.judge_digest)}, and it is now {short(judge_digest)}"
        )
    age = (now - report.at) / timedelta(days=1)
    if not 0 <= age <= bars.max_age_days:
        when = (
            f"{age:.1f} days old, at most {bars.max_age_days:g} are allowed"
            if age > 0
            else "dated in the future"
        )
        return held(f"its calibration is {when}", age, bars.max_age_days)
    if report.unscored_share > bars.max_unscored:
        return held(
            f"{report.unscored} of {report.n} labelled rows stayed unscored "
            f"({report.unscored_share:.1%}), at most {bars.max_unscored:.1%} are allowed",
            report.unscored_share,
            bars.max_unscored,
        )
    return _by_kappa(report, name, use, bars.kappa(use), mend)


def _by_kappa(report: CalibrationReport, name: str, use: Use, bar: float, mend: str) -> GateResult:
    kappa = report.overall.kappa
    if kappa is None:
        sentence = f"its κ is undefined on these {report.n} rows; label answers of all three kinds"
        return GateResult(False, None, bar, f"judge {name} may not {use}: {sentence}", mend)
    figure = f"κ is {kappa.value:.3f} with interval {kappa.low:.3f} to {kappa.high:.3f}"
    if not kappa.low >= bar:  # NaN must not pass
        sentence = f"judge {name} may not {use}: its {figure}, and the lower end must reach {bar:.3f}"
        return GateResult(False, kappa.low, bar, sentence, mend)
    return GateResult(True, kappa.low, bar, f"judge {name} may {use}: its {figure}, the bar is {bar:.3f}")
