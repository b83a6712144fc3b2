"""`primum cycle flips`: the reviewer's reading list, with names or blinded."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from daemon.commands.common import placed, write_private
from daemon.reading import compared
from daemon.store.rows import CycleRow
from daemon.wiring import Place, open_place
from policies.digests import seed_from
from policies.validation.flips import (
    BlindFlip,
    Flip,
    blind,
    flips,
    printable,
    to_csv,
    to_json_text,
    to_jsonl,
    to_markdown,
)

_WRITERS = {"md": to_markdown, "jsonl": to_jsonl, "csv": to_csv}


@click.command("flips")
@click.argument("cycle_id", metavar="CYCLE", type=int)
@click.option("--candidate", help="Its name (the winner, the leader or the only one).")
@click.option("--blinded", is_flag=True, help="Answers as A and B in random places; the key is a file apart.")
@click.option("--format", "form", type=click.Choice(list(_WRITERS)), help="(by the file's ending, or md)")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="File (stdout).")
@click.option(
    "--key", "key_file", type=click.Path(path_type=Path, dir_okay=False), help="Where the key goes."
)
@click.option("--seed", type=int, help="Of the blinded order (the cycle's).")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object with everything, in place of a format."
)
@placed
def cycle_flips(
    cycle_id: int,
    candidate: str | None,
    blinded: bool,
    form: str | None,
    output: Path | None,
    key_file: Path | None,
    seed: int | None,
    as_json: bool,
    config: Path | None,
    data_dir: Path | None,
) -> None:
    """Prompts whose label changes between incumbent and candidate, most harmful first, with both answers.

    The key of a blinded list names the candidate's place (a or b) by number; it stays in the cycle's folder
    unless --key says otherwise. Keep it from whoever reads the list.
    """
    if not blinded and (key_file is not None or seed is not None):
        raise click.UsageError("--key and --seed belong to --blinded")
    if as_json and form is not None:
        raise click.UsageError("--json is a format of its own; leave --format out")
    with open_place(config, data_dir) as place:
        row = place.store.cycles.get(cycle_id)
        pair = compared(place.store, row, candidate)
        found: list[Flip] | list[BlindFlip] = flips(pair.before, pair.after)
        if blinded:
            found = _blinded(place, row, pair.name, found, seed, key_file)  # type: ignore[arg-type]
        # A blinded list does not say whose answers these are, but the candidate's name is no secret.
        about = {"cycle": cycle_id, "candidate": pair.name, "blinded": blinded}
        _put(_text(found, about, None if as_json else form or _form_of(output)), output, len(found))


def _blinded(
    place: Place, row: CycleRow, name: str, found: list[Flip], seed: int | None, key_file: Path | None
) -> list[BlindFlip]:
    drawn = seed_from(row.seed, "flips", name) if seed is None else seed
    shown, key = blind(found, seed=drawn)
    default = place.paths.cycle(row.id) / "report" / f"flips-{name}.key-{drawn}.json"
    path = default if key_file is None else key_file
    body = {"cycle": row.id, "candidate": name, "seed": drawn, "key": key}
    write_private(path, json.dumps(body, indent=1) + "\n")
    click.echo(f"The key is in {path}", err=True)
    return shown


def _form_of(output: Path | None) -> str:
    ending = "" if output is None else output.suffix.lower().lstrip(".")
    return ending if ending in _WRITERS else "md"


def _text(found: list[Flip] | list[BlindFlip], about: dict[str, Any], form: str | None) -> str:
    if form is None:
        return to_json_text({**about, "flips": [asdict(flip) for flip in found]}, indent=1) + "\n"
    text: str = _WRITERS[form](found)
    return text


def _put(text: str, output: Path | None, count: int) -> None:
    if output is None:
        click.echo(printable(text), nl=False)
        return
    write_private(output, text)
    click.echo(f"{count} flips are in {output}", err=True)
