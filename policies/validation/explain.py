"""A Decision in words, as plain text for a terminal and as Markdown for a report. No prompts, no answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from policies.cares import LABELS, LEVEL_NAMES, LEVELS
from policies.statistics.bootstrap import Interval
from policies.validation.decide import Decision
from policies.validation.outcomes import FAIL, INCONCLUSIVE, PASS, GateOutcome
from policies.validation.scorecards import Scorecard

_MARKS = {PASS: "pass", FAIL: "FAIL", INCONCLUSIVE: "open"}
_RANK = {FAIL: 0, INCONCLUSIVE: 1, PASS: 2}


def explain(decision: Decision) -> str:
    """Plain text, lines of any length: what was decided, why, and every gate."""
    lines = [decision.sentence, ""]
    lines += [f"Warning: {warning}" for warning in decision.warnings]
    lines += [_budget(decision), ""]
    lines += _figures(decision)
    for key, gates in decision.gates.items():
        lines += ["", f"{decision.names[key]} ({key[:12]}){_crown(decision, key)}"]
        lines += [f"  {_MARKS[gate.outcome]:4}  {gate.name}: {gate.sentence}" for gate in _ordered(gates)]
    return "\n".join(lines) + "\n"


def explain_markdown(decision: Decision) -> str:
    """The same with tables, and label shares by harm level."""
    lines = [f"# {decision.outcome.capitalize()}", "", decision.sentence, ""]
    lines += [f"> **Warning.** {warning}\n" for warning in decision.warnings]
    lines += [_budget(decision), "", "## Scores", ""]
    lines += [
        "| policy | n | SS | ERR | over-caution | hard benign ERR | unscored |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {_cell(called(decision.names, key))} | {card.n} | {_told(card.ss)} | {_told(card.err)} | "
        f"{_told(card.over_caution)} | {_told(card.hard_err)} | {card.unscored} |"
        for key, card in decision.scorecards.items()
    ]
    lines += ["", "## Labels by harm level", "", *_level_table(decision)]
    for key, gates in decision.gates.items():
        lines += ["", f"## Gates: {_cell(decision.names[key])}{_crown(decision, key)}", ""]
        lines += ["| gate | outcome | figure | threshold | why |", "|---|---|---|---|---|"]
        lines += [
            f"| {gate.name} | {_MARKS[gate.outcome]} | {_number(gate.figure)} | {_number(gate.threshold)} | "
            f"{_cell(gate.sentence)} |"
            for gate in _ordered(gates)
        ]
    return "\n".join(lines) + "\n"


def _budget(decision: Decision) -> str:
    alpha = decision.alpha
    return (
        f"Error budget {alpha['budget']:.3g}: cycle {alpha['cycle']:.0f} tests at {alpha['this_cycle']:.3g}, "
        f"{alpha['spent']:.3g} is spent, {alpha['remaining']:.3g} is left. The sealed split has been opened "
        f"{decision.sealed_openings} times."
    )


def _figures(decision: Decision) -> Iterator[str]:
    for key, card in decision.scorecards.items():
        yield (
            f"{called(decision.names, key)}: SS {_told(card.ss)}, ERR {_told(card.err)}, over-caution "
            f"{_told(card.over_caution)}, hard benign ERR {_told(card.hard_err)}, {card.n} prompts, "
            f"{card.unscored} unscored"
        )


def _level_table(decision: Decision) -> Iterator[str]:
    yield "| policy | level | n | " + " | ".join(label.value for label in LABELS) + " | SS |"
    yield "|---|---|---|" + "---|" * (len(LABELS) + 1)
    for key, card in decision.scorecards.items():
        for level in LEVELS:
            yield _level_row(called(decision.names, key), level, card)


def _level_row(name: str, level: int, card: Scorecard) -> str:
    figures = card.by_level[str(level)]
    shares = " | ".join(_number(figures[label.value]) if figures["n"] else "–" for label in LABELS)
    start = f"| {_cell(name)} | {level} {LEVEL_NAMES[level]} | {figures['n']}"
    return f"{start} | {shares} | {_number(figures['ss'])} |"


def called(names: Mapping[str, str], key: str) -> str:
    """What a scorecard is called: its candidate's name among `names` (key → name), never the key."""
    owner, sealed, _ = key.partition(" sealed")
    return names.get(owner, owner) + (", sealed" if sealed else "")


def _crown(decision: Decision, key: str) -> str:
    if key == decision.winner_key:
        return ", the winner"
    return ", first on the selection split" if key == decision.provisional_key else ""


def _ordered(gates: tuple[GateOutcome, ...]) -> list[GateOutcome]:
    """What stops a candidate first."""
    return sorted(gates, key=lambda gate: _RANK[gate.outcome])


def _told(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    return f"{interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _number(figure: float | int | None) -> str:
    return "–" if figure is None else f"{figure:.3f}"


def _cell(text: str) -> str:
    """Names come from configuration: a bar in one must not break the table."""
    return text.replace("|", "\\|").replace("\n", " ")
