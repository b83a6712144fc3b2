"""`primum ask TEXT`."""

from __future__ import annotations

from pathlib import Path

import click

from daemon.commands.common import placed
from daemon.commands.heavy import find_policy, workshop_of
from daemon.wiring import open_place
from policies.errors import EngineError
from policies.records import Ask, Prompt, Sampling


@click.command()
@click.argument("text")
@click.option(
    "--policy", default="deployed", show_default=True, help="deployed, base, or a candidate (CYCLE:NAME)."
)
@click.option("--max-new-tokens", type=click.IntRange(1, 2048), default=128, show_default=True)
@placed
def ask(text: str, policy: str, max_new_tokens: int, config: Path | None, data_dir: Path | None) -> None:
    """Ask a policy one question and print its answer; nothing is stored."""
    with open_place(config, data_dir) as place:
        workshop = workshop_of(place)
        one = Ask(Prompt(text, 0, text, source="ask"), Sampling(max_new_tokens, 0.0), 0)
        answers = list(workshop.engine().generate(find_policy(place, workshop, policy), [one]))
        if not answers:
            raise EngineError("the engine gave no answer")
        click.echo(answers[0].text)
