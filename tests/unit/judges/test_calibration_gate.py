"""The calibration gate: a judge may do what its last report bears out, and nothing without one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from judges.calibration import (
    Bars,
    CalibrationReport,
    Confidence,
    Estimate,
    GateResult,
    Slice,
    confusion_picture,
    gate,
    reliability_diagram,
)
from judges.calibration.gate import Use
from policies.errors import ConfigurationError, NotEnoughData

NOW = datetime(2025, 6, 1, tzinfo=UTC)
BARS = Bars(train_kappa=0.6, validate_kappa=0.8, max_age_days=30, max_unscored=0.05)
OVERALL = Slice(
    n=100,
    unscored=2,
    accuracy=0.85,
    macro_f1=0.85,
    kappa=Estimate(0.77, 0.7, 0.83),
    classes={},
    confusion=((30, 2, 1), (3, 28, 2), (1, 5, 26)),
)
BINS = tuple(
    ((float(n), 0.7 + n / 300, 0.6 + n / 200) if n > 20 else (0.0, 0.0, 0.0)) for n in range(10, 40, 2)
)
REPORT = CalibrationReport(
    judge_name="local",
    judge_digest="d" * 64,
    labels_digest="l" * 64,
    at=NOW - timedelta(days=10),
    seed=0,
    resamples=100,
    overall=OVERALL,
    by_level={},
    by_principle={},
    by_method={},
    by_length={},
    verbosity=None,
    position=None,
    confidence=Confidence(98, 1.7, 0.12, 0.03, 0.3, 0.25, 0.6, 0.5, BINS, BINS),
)


def ask(report: CalibrationReport | None, use: Use = "train", digest: str = "d" * 64) -> GateResult:
    return gate(report, judge_digest=digest, use=use, bars=BARS, now=NOW, judge_name="local")


def with_kappa(low: float) -> CalibrationReport:
    return replace(REPORT, overall=replace(OVERALL, kappa=Estimate(0.8, low, 0.9)))


def test_judge_above_the_bar_may_train() -> None:
    result = ask(REPORT)
    assert result.allowed
    assert (result.figure, result.threshold, result.mend) == (0.7, 0.6, "")
    assert "0.770" in result.sentence


def test_same_judge_may_not_validate_under_the_higher_bar() -> None:
    result = ask(REPORT, "validate")
    assert not result.allowed
    assert (result.figure, result.threshold) == (0.7, 0.8)
    assert "0.700" in result.sentence
    assert "0.800" in result.sentence
    assert result.mend == "primum judge calibrate local --labels FILE"


@pytest.mark.parametrize(("low", "allowed"), [(0.6, True), (0.5999, False), (float("nan"), False)])
def test_lower_end_must_reach_the_bar(low: float, allowed: bool) -> None:
    assert ask(with_kappa(low)).allowed is allowed


def test_judge_without_a_report_may_do_nothing() -> None:
    result = ask(None)
    assert not result.allowed
    assert "never calibrated" in result.sentence
    assert result.mend == "primum judge calibrate local --labels FILE"


def test_report_expires_when_the_judge_changes() -> None:
    result = ask(REPORT, digest="e" * 64)
    assert not result.allowed
    assert "dddddddddddd" in result.sentence
    assert "eeeeeeeeeeee" in result.sentence


@pytest.mark.parametrize(("days", "allowed"), [(0, True), (30, True), (30.01, False), (-1, False)])
def test_report_expires_by_age_and_none_is_from_the_future(days: float, allowed: bool) -> None:
    result = ask(replace(REPORT, at=NOW - timedelta(days=days)))
    assert result.allowed is allowed
    if not allowed:
        assert result.threshold == 30


def test_too_many_unscored_rows_forbid() -> None:
    result = ask(replace(REPORT, overall=replace(OVERALL, unscored=6)))
    assert not result.allowed
    assert (result.figure, result.threshold) == (0.06, 0.05)
    assert "6 of 100" in result.sentence


def test_undefined_kappa_forbids() -> None:
    result = ask(replace(REPORT, overall=replace(OVERALL, kappa=None)))
    assert not result.allowed
    assert "undefined" in result.sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [("train_kappa", 1.2), ("validate_kappa", float("nan")), ("max_age_days", 0), ("max_unscored", 2)],
)
def test_bars_out_of_range_name_the_setting(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=name):
        replace(BARS, **{name: value})


@pytest.mark.parametrize("draw", [reliability_diagram, confusion_picture])
def test_pictures_are_written_as_png_and_svg(draw, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    draw(REPORT, tmp_path / "picture.png")
    draw(REPORT, tmp_path / "picture.svg")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "picture.svg").read_text()


def test_reliability_diagram_needs_probabilities(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughData, match="no probabilities"):
        reliability_diagram(replace(REPORT, confidence=None), tmp_path / "picture.png")
