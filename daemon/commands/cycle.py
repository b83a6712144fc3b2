"""`primum cycle run|list|show|flips`."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from daemon.commands.common import interval, options_text, percent, placed
from daemon.commands.flips import cycle_flips
from daemon.store.rows import CycleRow, CycleState
from daemon.wiring import Place, open_place
from daemon.workers import Worker
from policies.errors import PrimumError, StateError
from policies.validation.decide import Decision
from policies.validation.explain import called, explain

_log = logging.getLogger(__name__)
_EXIT = {CycleState.HELD: 7, CycleState.FAILED: 5}


@click.group()
def cycle() -> None:
    """Run cycles and look at them."""


cycle.add_command(cycle_flips)


@cycle.command("run")
@click.option("--json", "as_json", is_flag=True, help="The finished cycle as JSON on stdout.")
@placed
def run(config: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Run the unfinished cycle, or a new one, until it waits for approval or ends."""
    with open_place(config, data_dir) as place:
        worker = Worker(place.arguments())
        try:
            problem = _follow(worker)
        except BaseException:
            worker.stop()
            raise
        code = worker.wait()
        if code != 0:
            _log.info("what the worker wrote to its standard error:\n%s", worker.trace())
            words = problem or f"the worker ended with code {code}: {worker.last_words()}"
            error = PrimumError(words)
            error.exit_code = code if code in range(1, 8) else 1
            raise error
        found = place.store.cycles.latest()
        if found is None:
            raise StateError("no cycle was made")
        if as_json:
            click.echo(json.dumps(cycle_json(place, found), indent=1))
        else:
            show_cycle(place, found, options_text(config, data_dir))
        sys.exit(_EXIT.get(found.state, 0))


def _follow(worker: Worker) -> str | None:
    """Show progress on stderr until the worker ends; the error that it told, if any."""
    problem = None
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
    ) as bars:
        tasks: dict[str, TaskID] = {}
        for event in worker.events():
            kind = event.get("event")
            if kind == "stage":
                console.print(f"[bold]{event['index'] + 1}/{event['of']} {event['stage']}[/bold]")
            elif kind == "progress":
                _advance(bars, tasks, event["what"], event["done"], event["of"], "")
            elif kind == "step":
                note = f"loss {event['loss']:.3f}"
                _advance(bars, tasks, f"training {event['candidate']}", event["step"], event["of"], note)
            elif kind == "lean":
                console.print(
                    f"{event['candidate']}, {_leaning(event['lean'])}, refuses "
                    f"{percent(event['err'])} of {event['prompts']} held-out harmless prompts"
                )
            elif kind == "warning":
                console.print(f"[yellow]{event['text']}[/yellow]")
            elif kind == "error":
                problem = event["error"]
    return problem


def _advance(bars: Progress, tasks: dict[str, TaskID], what: str, done: int, of: int, note: str) -> None:
    if what not in tasks or (bars.tasks[tasks[what]].finished and done < of):
        tasks[what] = bars.add_task(what, total=of or None, note=note)
    bars.update(tasks[what], completed=done, total=of or None, note=note)


@cycle.command("list")
@click.option("--json", "as_json", is_flag=True)
@placed
def list_cycles(config: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """All cycles, newest first."""
    with open_place(config, data_dir) as place:
        rows = place.store.cycles.recent()
        if as_json:
            click.echo(json.dumps([_row_json(row) for row in rows], indent=1))
            return
        table = Table("cycle", "state", "stage", "started", "message", box=None)
        for row in rows:
            started = row.started_at.strftime("%Y-%m-%d %H:%M")
            table.add_row(str(row.id), row.state.value, row.stage, started, row.message or "")
        Console().print(table if rows else "No cycle yet; `primum cycle run` starts one.")


@cycle.command("show")
@click.argument("cycle_id", metavar="ID", type=int)
@click.option("--json", "as_json", is_flag=True)
@placed
def show(cycle_id: int, config: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """One cycle: its stages, its decision as a person would explain it, where its report lies."""
    with open_place(config, data_dir) as place:
        row = place.store.cycles.get(cycle_id)
        if as_json:
            click.echo(json.dumps(cycle_json(place, row), indent=1))
        else:
            show_cycle(place, row, options_text(config, data_dir))


def cycle_json(place: Place, row: CycleRow) -> dict[str, Any]:
    """Every figure of a cycle."""
    decision = place.store.results.decision(row.id)
    return {
        **_row_json(row),
        "seed": row.seed,
        "incumbent": row.incumbent_digest,
        "seconds": place.store.cycles.stage_seconds(row.id),
        "stages": [
            {"name": one.name, "status": one.status, "seconds": one.seconds, "detail": one.detail}
            for one in place.store.cycles.stages(row.id)
        ],
        "candidates": [
            {
                "name": one.method,
                "key": one.key,
                "status": one.status,
                "policy": one.policy_digest,
                "error": one.error,
            }
            for one in place.store.results.candidates(row.id)
        ],
        "scorecards": [
            {"role": one.role, "split": one.split, "policy": one.policy_digest, **one.body}
            for one in place.store.results.scorecards(row.id)
        ],
        "decision": decision.body if decision else None,
        "oscillations": _oscillations(place, row),
        "report": str(place.paths.cycle(row.id) / "report"),
    }


def _row_json(row: CycleRow) -> dict[str, Any]:
    return {
        "cycle": row.id,
        "state": row.state.value,
        "stage": row.stage,
        "message": row.message,
        "started_at": row.started_at.isoformat(),
        "ended_at": row.ended_at.isoformat() if row.ended_at else None,
    }


def show_cycle(place: Place, row: CycleRow, options: str) -> None:
    """A cycle for a person's eyes."""
    console = Console()
    decision = place.store.results.decision(row.id)
    # A decided cycle's message is the first sentence of its explanation below.
    message = f"  {row.message}" if row.message and decision is None else ""
    console.print(f"\nCycle {row.id}  {row.state.value}{message}", markup=False)
    table = Table("policy", "SS", "ERR", "over-caution", "on harmful: A/C/R", box=None)
    if decision is not None:
        body = decision.body
        for key, card in body["scorecards"].items():
            table.add_row(
                called(body["names"], key),
                interval(card["ss"]),
                interval(card["err"]),
                interval(card["over_caution"]),
                _harmful(card),
            )
        console.print(table)
        console.print(explain(Decision.from_json(body)), markup=False, highlight=False)
    for line in _leans(place, row):
        console.print(line, markup=False, highlight=False)
    seconds = place.store.cycles.stage_seconds(row.id)
    told = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    console.print(f"Stages: {told}; {sum(seconds.values()):.0f} s in all")
    if (oscillating := _oscillations(place, row)) is not None:
        counts = ", ".join(f"{name} {count}" for name, count in oscillating.items())
        console.print(f"Prompts that flip back and forth across releases: {counts}", markup=False)
    if decision is not None:
        console.print(f"Report: {place.paths.cycle(row.id) / 'report'}", highlight=False)
    if row.state is CycleState.WAITING:
        console.print(f'Approve: primum approve {row.id} --reason "…" {options}', highlight=False)
        console.print(f'Reject:  primum reject {row.id} --reason "…" {options}', highlight=False)


def _leaning(lean: float) -> str:
    """In words where a candidate was moved to after training (policies.training.lean)."""
    if not lean:
        return "as training left it"
    return f"leaning {abs(lean):.2g} towards {'answering' if lean > 0 else 'refusing'}"


def _leans(place: Place, row: CycleRow) -> list[str]:
    """Where candidates with `target_err` were moved to, a line each."""
    details = {one.name: one.detail or {} for one in place.store.cycles.stages(row.id)}
    return [
        f"{name}, {_leaning(told['chosen'])}, refuses {percent(told['err'])} of {told['prompts']} "
        f"held-out harmless prompts (target_err {told['target_err']:g})"
        for name, one in details.get("train", {}).items()
        if isinstance(one, dict) and (told := one.get("lean"))
    ]


def _oscillations(place: Place, row: CycleRow) -> dict[str, int] | None:
    """By candidate, how many prompts flip back and forth; None while there is too little history to say."""
    details = {one.name: one.detail or {} for one in place.store.cycles.stages(row.id)}
    return details.get("decide", {}).get("oscillations")


def _harmful(card: dict[str, Any]) -> str:
    parts = [(level["n"], level) for name, level in card["by_level"].items() if name != "0" and level["n"]]
    total = sum(n for n, _ in parts)
    if not total:
        return "–"
    return " / ".join(
        percent(sum(n * level[label] for n, level in parts) / total)
        for label in ("Accept", "Caution", "Refuse")
    )
