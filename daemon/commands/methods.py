"""`primum methods`: which method wins, cycle by cycle, as a table and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from daemon.commands.common import percent, placed
from daemon.reading import method_points
from daemon.wiring import open_place
from policies.errors import DataError
from policies.validation.methods import MethodPoint, methods_over_cycles, wins


@click.command()
@click.option("--json", "as_json", is_flag=True)
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder for the picture (SVG and PNG)."
)
@placed
def methods(as_json: bool, output: Path | None, config: Path | None, data_dir: Path | None) -> None:
    """SS and ERR of every method in every decided cycle, by validation and reference judge; who won."""
    with open_place(config, data_dir) as place:
        points = method_points(place.store)
        states = {row.id: row.state.value for row in place.store.cycles.recent(10_000)}
        pictures = [] if output is None else _draw(points, output)
        if as_json:
            body = {
                "points": [asdict(point) | {"state": states[point.cycle]} for point in points],
                "wins": wins(points),
                "pictures": [str(path) for path in pictures],
            }
            click.echo(json.dumps(body, indent=1))
            return
        _show(points, states)
        for path in pictures:
            click.echo(f"Picture: {path}")


def _draw(points: Sequence[MethodPoint], folder: Path) -> list[Path]:
    try:
        return methods_over_cycles(points, folder)
    except OSError as problem:
        raise DataError(f"{folder}: cannot be written ({problem.strerror}); name another folder") from problem


def _show(points: Sequence[MethodPoint], states: Mapping[int, str]) -> None:
    console = Console(highlight=False)
    if not points:
        console.print("No cycle has been decided yet; `primum cycle run` starts one.", markup=False)
        return
    judges = list(dict.fromkeys(point.judge for point in points))
    table = Table("cycle", "state", "method", "", box=None)
    for judge in judges:
        table.add_column(f"SS, {escape(judge)}", justify="right")
        table.add_column("ERR", justify="right")
    for cycle, method in dict.fromkeys((point.cycle, point.method) for point in points):
        mine = {point.judge: point for point in points if (point.cycle, point.method) == (cycle, method)}
        won = any(point.winner for point in mine.values())
        cells = [cell for judge in judges for cell in _cells(mine.get(judge))]
        table.add_row(str(cycle), states[cycle], escape(method), "won" if won else "", *cells)
    console.print(table)
    decided = len({point.cycle for point in points})
    told = ", ".join(f"{name} {count}" for name, count in wins(points).items())
    console.print(f"Cycles won, of {decided} decided: {told}", markup=False)


def _cells(point: MethodPoint | None) -> tuple[str, str]:
    return ("–", "–") if point is None else (f"{point.ss:.3f}", percent(point.err))
