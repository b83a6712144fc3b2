"""Which method wins: each method's SS and ERR over the cycles, as a table's rows and as a picture.

As figures 3 and 4 of arXiv 2512.04210: one column a judge, winners filled, losers hollow. Methods differ by
colour, by mark and by line, so that the picture can be read in grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policies.errors import NotEnoughData
from policies.validation.drawing import CANDIDATES, new_figure, save_figure, styled

_MARKS = ("o", "s", "^", "D", "v", "P")
_LINES = ("-", "--", ":", "-.")
_APART = 0.08  # cycles between the marks of two methods, so that equal results stay visible
_METRICS = (("ss", "SS (up is better)"), ("err", "ERR (down is better)"))


@dataclass(frozen=True)
class MethodPoint:
    """One method's result in one cycle by one judge; `err` is None where no harmless prompt was judged.

    `winner`: the cycle's decision chose it.
    """

    cycle: int
    method: str
    judge: str
    ss: float
    err: float | None
    winner: bool


@styled
def methods_over_cycles(points: Sequence[MethodPoint], folder: Path) -> list[Path]:
    """SS and ERR of each method by cycle, one column a judge; the paths of the SVG and the PNG.

    NotEnoughData without points.
    """
    if not points:
        raise NotEnoughData("methods over cycles: no cycle has been decided yet")
    folder.mkdir(parents=True, exist_ok=True)
    judges = list(dict.fromkeys(point.judge for point in points))
    methods = sorted({point.method for point in points})
    figure = new_figure(4.4 * len(judges) + 1.6, 5.8)
    panels = figure.subplots(2, len(judges), sharex=True, sharey="row", squeeze=False)
    for column, judge in enumerate(judges):
        for row, (metric, title) in enumerate(_METRICS):
            panel = panels[row][column]
            for number, method in enumerate(methods):
                mine = [point for point in points if (point.judge, point.method) == (judge, method)]
                _line(panel, mine, metric, number, shift=_APART * (number - (len(methods) - 1) / 2))
            _furnish(panel, points, metric, title if column == 0 else "")
        panels[0][column].set_title(judge, fontsize=10)
        panels[1][column].set_xlabel("cycle")
    _legend(figure, methods)
    figure.suptitle("Which method wins, cycle by cycle", fontsize=11)
    return save_figure(figure, folder, "methods_over_cycles")


def wins(points: Sequence[MethodPoint]) -> dict[str, int]:
    """Cycles that each method has won, the most successful first."""
    won = {(point.cycle, point.method) for point in points if point.winner}
    counts = {name: sum(name == method for _, method in won) for name in {point.method for point in points}}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _line(panel: Any, points: Sequence[MethodPoint], metric: str, number: int, *, shift: float) -> None:
    found = [
        (point.cycle + shift, getattr(point, metric), point.winner)
        for point in sorted(points, key=lambda point: point.cycle)
        if getattr(point, metric) is not None
    ]
    colour, mark = CANDIDATES[number % len(CANDIDATES)], _MARKS[number % len(_MARKS)]
    line = _LINES[number % len(_LINES)]
    panel.plot([x for x, _, _ in found], [y for _, y, _ in found], line, color=colour, linewidth=1.3)
    for x, y, winner in found:
        face = colour if winner else "white"
        panel.plot(x, y, mark, color=colour, markerfacecolor=face, markersize=8, markeredgewidth=1.6)


def _furnish(panel: Any, points: Sequence[MethodPoint], metric: str, title: str) -> None:
    cycles = [point.cycle for point in points]
    # SS over its whole range; ERR lies near 0, where its differences would be too small to see.
    top = 1.0 if metric == "ss" else max(0.2, *(1.1 * (point.err or 0.0) for point in points))
    panel.set_ylabel(title)
    panel.set_ylim(-0.04 * top, 1.04 * top)
    panel.set_xlim(min(cycles) - 0.5, max(cycles) + 0.5)
    panel.grid(axis="y", color="#e3e3e3", linewidth=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def _legend(figure: Any, methods: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    looks = [
        (name, CANDIDATES[at % len(CANDIDATES)], _MARKS[at % len(_MARKS)], _LINES[at % len(_LINES)])
        for at, name in enumerate(methods)
    ]
    handles = [
        Line2D([], [], color=colour, marker=mark, linestyle=line, markersize=8, label=name)
        for name, colour, mark, line in looks
    ]
    for label, face in (("filled: won its cycle", "#555555"), ("hollow: did not", "white")):
        handles.append(
            Line2D([], [], color="#555555", marker="o", linestyle="", markerfacecolor=face, label=label)
        )
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(6, len(handles)), frameon=False, fontsize=9
    )
