"""The decision as pictures, SVG and PNG: the trade-off and the subgroups.

Titles and labels hold names and figures only, never prompts or answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policies.cares import LABELS, LEVEL_NAMES, LEVELS, PRINCIPLES
from policies.errors import ConfigurationError, NotEnoughData
from policies.statistics.bootstrap import Interval
from policies.validation.config import GateConfig
from policies.validation.decide import Decision
from policies.validation.drawing import CANDIDATES, new_figure, save_figure, styled
from policies.validation.scorecards import Figures, Scorecard

_INK, _PALE, _REGION = "#333333", "#9a9a9a", "#e8f2e4"
_LABEL_COLOURS = {"Accept": "#a9cfe6", "Caution": "#f2c879", "Refuse": "#3d5a8a"}
_SHORT_PRINCIPLES = (
    "privacy",
    "ethics",
    "discrimination",
    "misinformation",
    "self-harm",
    "illicit practice",
    "AI and safety",
    "public health",
)


@dataclass(frozen=True)
class Look:
    """A policy in a picture. Hollow is for those that did not win."""

    key: str
    name: str
    colour: str
    marker: str
    filled: bool


def report_pictures(decision: Decision, folder: Path, config: GateConfig) -> list[Path]:
    """The trade-off and the small multiples that the data allow, each as SVG and PNG; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    found = tradeoff(decision, folder, config)
    found += level_shares(decision, folder)
    for by in ("principle", "method"):
        if any(_breakdown(card, by) for card in decision.scorecards.values()):
            found += small_multiples(decision, folder, by=by)
    return found


@styled
def tradeoff(decision: Decision, folder: Path, config: GateConfig) -> list[Path]:
    """SS against ERR with intervals, Pareto front and gate region; the sealed split is left out."""
    points = [(look, card.err, card.ss) for look, card in _policies(decision) if card.ss and card.err]
    if not points:
        raise NotEnoughData("trade-off: no policy has both an SS and an ERR; score harmless prompts too")
    figure = new_figure(7.6, 5.4)
    axes = figure.subplots()
    right = max(0.2, *(min(1.0, err.high + 0.04) for _, err, _ in points))
    _gate_region(axes, decision, config)
    _pareto(axes, [(err.estimate, ss.estimate) for _, err, ss in points], right)
    for look, err, ss in points:
        _cross(axes, look, err, ss)
    axes.set_xlim(-0.02, right)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("ERR: harmless prompts refused (left is better)")
    axes.set_ylabel("SS: Safety Score (up is better)")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9)
    level = f"{points[0][2].level:.0%}"
    figure.suptitle(f"Safety against erroneous refusals, {level} intervals: {decision.outcome}", fontsize=11)
    return save_figure(figure, folder, "tradeoff")


@styled
def level_shares(decision: Decision, folder: Path) -> list[Path]:
    """Accept, Caution and Refuse by harm level, one panel a level, one bar a policy."""
    policies = list(_policies(decision))
    figure = new_figure(10.5, 0.9 + 0.34 * len(policies) + 1.2)
    panels = figure.subplots(1, len(LEVELS), sharey=True)
    panels[0].invert_yaxis()  # shared, so once
    for panel, level in zip(panels, LEVELS, strict=True):
        for place, (_, card) in enumerate(policies):
            _stack(panel, place, card.by_level[str(level)])
        panel.set_title(f"{level} {LEVEL_NAMES[level]}", fontsize=10)
        panel.set_xlim(0, 1.2)
        panel.set_xticks([0, 0.5, 1])
        panel.set_yticks(range(len(policies)), [look.name for look, _ in policies], fontsize=9)
        panel.spines[["top", "right", "left"]].set_visible(False)
    from matplotlib.patches import Patch

    handles = [Patch(color=_LABEL_COLOURS[label.value], label=label.value) for label in LABELS]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.suptitle("What the answers do, by harm level (beside each bar: SS)", fontsize=11)
    return save_figure(figure, folder, "by_level")


@styled
def small_multiples(decision: Decision, folder: Path, *, by: str) -> list[Path]:
    """SS against ERR, one panel a principle or method. ConfigurationError for another `by`."""
    policies = list(_policies(decision))
    names = _slice_names([card for _, card in policies], by)
    if not names:
        raise NotEnoughData(f"small multiples: no prompt has a {by}")
    across = min(4, len(names))
    down = -(-len(names) // across)
    figure = new_figure(2.6 * across + 0.6, 2.5 * down + 1.1)
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for place, panel in enumerate(panels.flat):
        if place >= len(names):
            panel.set_visible(False)
            continue
        _slice_panel(panel, policies, names[place], by)
        if place % across == 0:
            panel.set_ylabel("SS", fontsize=9)
        if place + across >= len(names):
            panel.set_xlabel("ERR", fontsize=9)
            panel.tick_params(labelbottom=True)
    panels.flat[0].set_xlim(-0.03, _furthest_err([card for _, card in policies], by) + 0.03)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    figure.suptitle(f"SS against ERR by {by} (at ERR 0 where there are no harmless prompts)", fontsize=11)
    return save_figure(figure, folder, f"by_{by}")


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (ERR, SS) points those that none beats in both, by rising ERR."""
    front: list[tuple[float, float]] = []
    for err, ss in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not front or ss > front[-1][1]:
            front.append((err, ss))
    return front


def _policies(decision: Decision) -> Iterator[tuple[Look, Scorecard]]:
    """Base, champions, incumbent, candidates: the selection split."""
    fixed = {"base": ("base", _PALE, "s"), "incumbent": ("incumbent", _INK, "D")}
    order = [key for key in decision.scorecards if not key.endswith(" sealed")]
    order.sort(key=lambda key: (key in decision.names, key == "incumbent", key != "base"))
    number = 0
    for key in order:
        card = decision.scorecards[key]
        if key in decision.names:
            colour, number = CANDIDATES[number % len(CANDIDATES)], number + 1
            yield Look(key, decision.names[key], colour, "o", key == decision.winner_key), card
        elif key in fixed:
            name, colour, marker = fixed[key]
            yield Look(key, name, colour, marker, True), card
        else:
            yield Look(key, key, _PALE, "^", True), card


def _gate_region(axes: Any, decision: Decision, config: GateConfig) -> None:
    own = decision.scorecards["incumbent"]
    if own.ss is None or own.err is None:
        return
    gate = config.gates.err_noninferiority
    harmless = own.by_level["0"]["n"] or 0
    most = own.err.estimate + gate.margin.at(int(harmless))
    if gate.err_max is not None:
        most = min(most, gate.err_max)
    axes.axvspan(
        -0.02, most, ymin=(own.ss.estimate + 0.02) / 1.04, color=_REGION, zorder=0, label="gate region"
    )


def _pareto(axes: Any, points: Sequence[tuple[float, float]], right: float) -> None:
    front = pareto_front(points)
    axes.step(
        [*(err for err, _ in front), right],
        [*(ss for _, ss in front), front[-1][1]],
        where="post",
        color=_PALE,
        linewidth=1,
        linestyle="--",
        zorder=1,
        label="Pareto front",
    )


def _cross(axes: Any, look: Look, across: Interval, up: Interval) -> None:
    axes.errorbar(
        across.estimate,
        up.estimate,
        xerr=_reach(across.estimate, across.low, across.high),
        yerr=_reach(up.estimate, up.low, up.high),
        fmt=look.marker,
        color=look.colour,
        markerfacecolor=look.colour if look.filled else "white",
        markersize=8,
        capsize=3,
        linewidth=1.2,
        zorder=3,
        label=look.name,
    )


def _slice_panel(panel: Any, policies: Sequence[tuple[Look, Scorecard]], name: str, by: str) -> None:
    rows = 0
    for look, card in policies:
        cell = _breakdown(card, by).get(name)
        if cell is None or cell["ss"] is None:
            continue
        rows = max(rows, int(cell["n"] or 0))
        err = cell["err"] if cell["err"] is not None else 0.0
        # A hollow mark is drawn larger and below, so that one in the same place stays visible.
        panel.plot(
            err,
            cell["ss"],
            look.marker,
            color=look.colour,
            markerfacecolor=look.colour if look.filled else "white",
            markersize=5 if look.filled else 8,
            zorder=3 if look.filled else 2.5,
            label=look.name,
        )
        for name_of, horizontal in (("ss", False), ("err", True)):
            low, high = cell[f"{name_of}_low"], cell[f"{name_of}_high"]
            if low is not None and high is not None:
                xs, ys = ([low, high], [cell["ss"]] * 2) if horizontal else ([err] * 2, [low, high])
                panel.plot(xs, ys, color=look.colour, linewidth=1, alpha=0.6)
    panel.set_title(f"{_title(name, by)} (n {rows})", fontsize=9)
    panel.set_ylim(-0.03, 1.05)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _stack(panel: Any, place: int, cell: Figures) -> None:
    if not cell["n"]:
        return
    start = 0.0
    for label in LABELS:
        share = float(cell[label.value] or 0.0)
        panel.barh(place, share, left=start, height=0.7, color=_LABEL_COLOURS[label.value])
        start += share
    if cell["ss"] is not None:
        panel.text(1.02, place, f"{cell['ss']:.2f}", ha="left", va="center", fontsize=8, color=_INK)


def _breakdown(card: Scorecard, by: str) -> Mapping[str, Figures]:
    if by not in ("principle", "method"):
        raise ConfigurationError(f"small multiples: {by!r} is neither principle nor method")
    return card.by_principle if by == "principle" else card.by_method


def _slice_names(cards: Sequence[Scorecard], by: str) -> list[str]:
    return sorted({name for card in cards for name in _breakdown(card, by)})


def _furthest_err(cards: Sequence[Scorecard], by: str) -> float:
    highs = [cell["err_high"] for card in cards for cell in _breakdown(card, by).values()]
    return max([0.2, *(high for high in highs if high is not None)])


def _title(name: str, by: str) -> str:
    known = by == "principle" and name.isdigit() and int(name) < len(PRINCIPLES)
    return f"{name} {_SHORT_PRINCIPLES[int(name)]}" if known else name.replace("_", " ")


def _reach(middle: float, low: float, high: float) -> list[list[float]]:
    # A BCa bound may lie a hair beyond the estimate; matplotlib refuses negative lengths.
    return [[max(0.0, middle - low)], [max(0.0, high - middle)]]
