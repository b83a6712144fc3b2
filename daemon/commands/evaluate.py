"""`primum evaluate`: a scorecard of any policy on any prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from daemon.commands.common import can_be_written, interval, percent, placed
from daemon.commands.heavy import find_policy, workshop_of
from daemon.cycle.answers import Asking
from daemon.cycle.planning import make_plan
from daemon.cycle.questions import evaluation_asks
from daemon.wiring import Place, open_place
from policies.cares import LABELS
from policies.records import Judged, Prompt
from policies.sources.registry import load_prompts
from policies.validation.scorecards import Scorecard, score


@click.command()
@click.option(
    "--policy", default="deployed", show_default=True, help="deployed, base, or a candidate (CYCLE:NAME)."
)
@click.option(
    "--prompts",
    required=True,
    metavar="FILE_OR_SOURCE",
    help="bank, counterparts, cares[:FOLDER], medsafetybench:FOLDER, a file or folder; or this "
    "installation's selection or sealed prompts.",
)
@click.option(
    "--level", type=click.IntRange(0, 3), help="Only this harm level; the level of rows that state none."
)
@click.option("--limit", type=click.IntRange(1), help="At most so many prompts, a seeded even sample.")
@click.option("--judge", "judge_name", help="A judge of the registry (the validation judge).")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write figures and every answer here."
)
@placed
def evaluate(
    policy: str,
    prompts: str,
    level: int | None,
    limit: int | None,
    judge_name: str | None,
    json_file: Path | None,
    config: Path | None,
    data_dir: Path | None,
) -> None:
    """Ask a policy, judge its answers, print the scorecard."""
    if json_file is not None:
        can_be_written(json_file)
    with open_place(config, data_dir) as place:
        asked = _prompts(place, prompts, level, limit)
        workshop = workshop_of(place)
        name = judge_name or place.settings.judging.validate_with
        who = find_policy(place, workshop, policy)
        with Progress(console=Console(stderr=True)) as bars:
            tasks: dict[str, Any] = {}

            def show(event: dict[str, Any]) -> None:
                what = event["what"]
                if what not in tasks:
                    tasks[what] = bars.add_task(what, total=event["of"])
                bars.update(tasks[what], completed=event["done"])

            asking = Asking(store=place.store, now=place.now, report=show)
            asks = evaluation_asks(asked, max_new_tokens=place.settings.sampling.max_new_tokens)
            answered = asking.answer(workshop.engine, who, asks, purpose="evaluate")
            judged = asking.judge(lambda: workshop.judge(name), answered, purpose="evaluate")
        card = score(judged, seed=place.settings.seed)
        if json_file is not None:
            json_file.write_text(
                json.dumps(_json(card, judged, policy, who.digest, name), indent=1, ensure_ascii=False)
            )
        _show(card, policy, prompts)


def _prompts(place: Place, source: str, level: int | None, limit: int | None) -> Sequence[Prompt]:
    if source not in ("selection", "sealed"):
        return load_prompts(source, level=level, limit=limit, seed=place.settings.seed)
    plan = make_plan(place.settings, cycle_seed=place.settings.seed)
    found: Sequence[Prompt] = getattr(plan.questions, source)
    if source == "sealed":
        digest = plan.splits.digests["sealed"]
        count = place.store.evidence.open_split(digest, "sealed", "evaluate", None, place.now())
        click.echo(f"The sealed split has now been opened {count} times.", err=True)
    kept = [prompt for prompt in found if level is None or prompt.harmful_level == level]
    return kept[:limit] if limit else kept


def _json(card: Scorecard, judged: Sequence[Judged], policy: str, digest: str, judge: str) -> dict[str, Any]:
    return {
        "policy": policy,
        "policy_digest": digest,
        "judge": judge,
        "scorecard": card.to_json(),
        "answers": [
            {
                "prompt": one.prompt.text,
                "level": one.prompt.harmful_level,
                "hard_benign": one.prompt.hard_benign,
                "method": one.prompt.method,
                "answer": one.response.text,
                "label": str(one.verdict.label) if one.verdict.label else None,
                "probabilities": dict(one.verdict.probabilities) if one.verdict.probabilities else None,
                "unscored_reason": one.verdict.unscored_reason,
            }
            for one in judged
        ],
    }


def _show(card: Scorecard, policy: str, prompts: str) -> None:
    console = Console()
    console.print(f"[bold]{policy}[/bold] on {prompts}: {card.n} answers, {card.unscored} unscored")
    console.print(
        f"Safety Score {interval(card.ss)}, ERR {interval(card.err)}, "
        f"on hard benign {interval(card.hard_err)}"
    )
    console.print(f"over-caution {interval(card.over_caution)}  (95 % intervals, clustered on base prompts)")
    table = Table("level", "n", *map(str, LABELS), box=None)
    for level, figures in card.by_level.items():
        if figures["n"]:
            shares = [percent(figures[str(label)]) for label in LABELS]
            table.add_row(level, str(figures["n"]), *shares)
    console.print(table)
