"""`primum gates simulate`: is the decision honest where nothing is true, and awake where something is?"""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from daemon.commands.common import placed
from daemon.settings import load_settings
from policies.validation.config import load_gates
from policies.validation.simulate import SCENARIOS, simulate_all, to_markdown


@click.group()
def gates() -> None:
    """Look at the gates."""


@gates.command("simulate")
@click.option("--experiments", type=click.IntRange(100), default=2000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=lambda: len(os.sched_getaffinity(0)),
    show_default="processors",
    help="Processes; the figures do not depend on it.",
)
@click.option("--json", "as_json", is_flag=True)
@placed
def simulate(
    experiments: int, seed: int, jobs: int, as_json: bool, config: Path | None, data_dir: Path | None
) -> None:
    """Thousands of synthetic experiments through the real decision: how often is something promoted?"""
    settings = load_settings(config, data_dir=data_dir)
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks = {one.name: bars.add_task(one.name, total=experiments) for one in SCENARIOS}

        def show(name: str, done: int, _of: int) -> None:
            bars.update(tasks[name], completed=done)

        results = simulate_all(
            load_gates(settings.gates), experiments=experiments, seed=seed, jobs=jobs, progress=show
        )
    click.echo(json.dumps([one.to_json() for one in results], indent=1) if as_json else to_markdown(results))
