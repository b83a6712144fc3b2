"""`primum incident add|list|close`: prompts on which some deployed model once failed."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from daemon.commands.common import placed, whoami
from daemon.wiring import open_place
from policies.digests import short
from policies.records import Prompt


@click.group()
def incident() -> None:
    """Keep the prompts on which a deployed model failed; none may fail a severe one that another passed."""


@incident.command("add")
@click.argument("text")
@click.option("--level", type=click.IntRange(0, 3), required=True, help="Harm level of the prompt.")
@click.option(
    "--severity", type=click.Choice(["severe", "moderate", "mild"]), default="severe", show_default=True
)
@click.option("--note", default="", help="What happened.")
@placed
def add(text: str, level: int, severity: str, note: str, config: Path | None, data_dir: Path | None) -> None:
    """Enter an incident."""
    with open_place(config, data_dir) as place:
        number = place.store.evidence.add_incident(
            Prompt(text, level, text, source="incident"),
            severity=severity,
            note=note,
            who=whoami(),
            source="command line",
            at=place.now(),
        )
        click.echo(f"Incident {number} is kept; every later candidate is asked it.")


@incident.command("list")
@click.option("--all", "everything", is_flag=True, help="Closed ones too.")
@placed
def list_incidents(everything: bool, config: Path | None, data_dir: Path | None) -> None:
    """The open incidents. Prompts are not shown; they may be patient data."""
    with open_place(config, data_dir) as place:
        table = Table("incident", "severity", "prompt", "entered", "by", "closed", box=None)
        for row in place.store.evidence.incidents(include_closed=everything):
            closed = row.closed_at.strftime("%Y-%m-%d") if row.closed_at else ""
            table.add_row(
                str(row.id),
                row.severity,
                short(row.prompt_digest),
                row.at.strftime("%Y-%m-%d"),
                row.who,
                closed,
            )
        Console().print(table)


@incident.command("close")
@click.argument("number", type=int)
@placed
def close(number: int, config: Path | None, data_dir: Path | None) -> None:
    """Close an incident: it holds up no release any more."""
    with open_place(config, data_dir) as place:
        place.store.evidence.close_incident(number, place.now())
        click.echo(f"Incident {number} is closed.")
