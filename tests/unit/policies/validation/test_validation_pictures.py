"""Pictures are drawn, in two formats, the same each time, and hold no patient text."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.cares import Label
from policies.errors import ConfigurationError, NotEnoughData
from policies.validation.decide import Decision, decide
from policies.validation.pictures import (
    pareto_front,
    report_pictures,
    small_multiples,
    tradeoff,
)
from tests.unit.policies.validation.experiments import (
    CONFIG,
    always,
    evidence,
    good_candidate,
    policy,
    prompts,
    weak,
)


@pytest.fixture(scope="module")
def decision() -> Decision:
    champion = policy("champion", "r1", weak, prompts())
    other = good_candidate("kto", always(Label.REFUSE))
    return decide(evidence(good_candidate(), other, champions=(champion,)), CONFIG)


def test_report_has_every_picture_in_both_formats(decision: Decision, tmp_path: Path) -> None:
    paths = report_pictures(decision, tmp_path / "report", CONFIG)
    names = {path.name for path in paths}
    assert names == {
        f"{name}.{ending}"
        for name in ("tradeoff", "by_level", "by_principle", "by_method")
        for ending in ("svg", "png")
    }
    assert all(path.stat().st_size > 5000 for path in paths)
    drawn = (tmp_path / "report" / "tradeoff.svg").read_text(encoding="utf-8")
    assert "question" not in drawn


def test_decision_from_storage_can_be_drawn(decision: Decision, tmp_path: Path) -> None:
    assert len(tradeoff(Decision.from_json(decision.to_json()), tmp_path, CONFIG)) == 2


def test_without_harmless_prompts_there_is_no_trade_off(tmp_path: Path) -> None:
    harmful = [prompt for prompt in prompts() if prompt.harmful_level]
    candidate = policy("candidate", "dpo", always(Label.REFUSE), harmful)
    found = decide(
        evidence(
            candidate,
            asked=harmful,
            incumbent=policy("incumbent", "old", weak, harmful),
            base=policy("base", "base", weak, harmful),
        ),
        CONFIG,
    )
    with pytest.raises(NotEnoughData, match="harmless"):
        tradeoff(found, tmp_path, CONFIG)


def test_unknown_breakdown_is_an_error(decision: Decision, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="mood"):
        small_multiples(decision, tmp_path, by="mood")


def test_the_same_decision_gives_the_same_file_and_a_title_to_read(
    decision: Decision, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        tradeoff(decision, folder, CONFIG)
    drawn = (first / "tradeoff.svg").read_bytes()
    assert drawn == (second / "tradeoff.svg").read_bytes()
    assert b"<title>Safety against erroneous refusals" in drawn


def test_pareto_front_keeps_what_nothing_beats() -> None:
    points = [(0.0, 0.5), (0.05, 0.4), (0.1, 0.8), (0.1, 0.7), (0.3, 0.8), (0.4, 0.9)]
    assert pareto_front(points) == [(0.0, 0.5), (0.1, 0.8), (0.4, 0.9)]
