"""`primum serve`: the daemon in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from daemon.commands.common import options_text, placed
from daemon.loop import Daemon
from daemon.wiring import open_place


@click.command()
@placed
def serve(config: Path | None, data_dir: Path | None) -> None:
    """Run the daemon: serve the deployed policy, start cycles on schedule, follow approvals."""
    with open_place(config, data_dir) as place:
        Daemon(place, say=lambda text: click.echo(text), arguments=options_text(config, data_dir)).run()
