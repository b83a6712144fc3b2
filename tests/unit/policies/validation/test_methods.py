"""KTO against DPO over the cycles: drawn without relying on colour, and counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from policies.errors import NotEnoughData
from policies.validation.methods import MethodPoint, methods_over_cycles, wins

POINTS = [
    MethodPoint(cycle, method, judge, 0.5 + cycle / 20, 0.02, method == ("dpo" if cycle != 2 else "kto"))
    for cycle in (1, 2, 3)
    for method in ("kto", "dpo")
    for judge in ("validation judge", "reference judge")
]


def test_no_decided_cycle_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughData, match="no cycle has been decided"):
        methods_over_cycles([], tmp_path)


def test_picture_comes_in_both_formats_and_is_the_same_each_time(tmp_path: Path) -> None:
    first = methods_over_cycles(POINTS, tmp_path / "first")
    second = methods_over_cycles(POINTS[::-1], tmp_path / "second")
    assert [path.name for path in first] == ["methods_over_cycles.svg", "methods_over_cycles.png"]
    assert all(path.stat().st_size > 5000 for path in first)
    assert b"<title>Which method wins" in first[0].read_bytes()
    assert methods_over_cycles(POINTS, tmp_path / "third")[0].read_bytes() == first[0].read_bytes()
    assert second[0].is_file()


def test_who_won_changes_the_picture(tmp_path: Path) -> None:
    others = [replace(point, winner=not point.winner) for point in POINTS]
    first, second = (
        methods_over_cycles(points, tmp_path / name)[0].read_bytes()
        for name, points in (("won", POINTS), ("lost", others))
    )
    assert first != second


def test_a_cycle_without_harmless_prompts_has_no_err_to_draw(tmp_path: Path) -> None:
    points = [replace(point, err=None) for point in POINTS]
    assert len(methods_over_cycles(points, tmp_path)) == 2


def test_a_win_counts_once_whatever_the_number_of_judges() -> None:
    assert wins(POINTS) == {"dpo": 2, "kto": 1}
    assert wins([replace(point, winner=False) for point in POINTS]) == {"dpo": 0, "kto": 0}
