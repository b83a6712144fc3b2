"""`primum label sample|import|list`: what people say of stored answers.

Their labels correct the judge's figures in every decision made afterwards on the same answers, if they are of
a random sample of its prompts: `sample` draws one. A decision that was made before stays as it was.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from daemon.commands.common import placed, write_private
from daemon.commands.common import whoami as whoever_types
from daemon.reading import Compared, compared
from daemon.store.rows import HumanLabel
from daemon.store.store import Store
from daemon.wiring import open_place
from judges.labels import LabelledRow, read_labels
from policies.digests import seed_from, short
from policies.errors import DataError
from policies.validation.flips import printable, to_csv, to_json_text
from policies.validation.human import settle

_LONGEST_NAME = 256  # the column's width
_NAMED = 10  # rows named in a message


@click.group()
def label() -> None:
    """What people say of stored answers: the labels that a judge is held against."""


@label.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--who", help="Whose labels these are, where a row does not say (you).")
@click.option("--json", "as_json", is_flag=True)
@placed
def import_labels(
    file: Path, who: str | None, as_json: bool, config: Path | None, data_dir: Path | None
) -> None:
    """Keep the labels of FILE (JSONL or CSV: prompt, answer, label, who) for stored answers.

    A person who labels an answer again corrects it. Rows whose prompt and answer are not stored are named
    and left out.
    """
    rows = read_labels(file)
    with open_place(config, data_dir) as place:
        found = match(place.store, rows, file, who=who or whoever_types(), at=place.now())
        place.store.evidence.save_labels(found.labels)
        answers = len({one.answer_digest for one in found.labels})
        if as_json:
            click.echo(json.dumps({"rows": len(rows), "answers": answers, "unknown_rows": found.unknown}))
            return
        click.echo(f"{len(rows) - len(found.unknown)} labels of {answers} stored answers are kept.")
        if found.unknown:
            click.echo(
                f"{len(found.unknown)} of {len(rows)} rows are of no stored answer and were left out: "
                f"rows {_listed(found.unknown)}",
                err=True,
            )


@dataclass(frozen=True)
class Matched:
    """Labels of stored answers, and the numbers (from 1) of rows that are of none."""

    labels: list[HumanLabel]
    unknown: list[int]


def match(store: Store, rows: Sequence[LabelledRow], file: Path, *, who: str, at: datetime) -> Matched:
    """Rows by their mere texts: one may be of several prompts that read alike.

    DataError where no row is of a stored answer, or a name is too long.
    """
    known = store.answers.with_texts(text for row in rows for text in _readings(row.prompt))
    labels, unknown = [], []
    for number, row in enumerate(rows, start=1):
        name = row.who or who
        if len(name) > _LONGEST_NAME:
            raise DataError(f"{file}, row {number}: who is longer than {_LONGEST_NAME} characters")
        texts = [(p, a) for p in _readings(row.prompt) for a in _readings(row.answer) if (p, a) in known]
        if not texts:
            unknown.append(number)
            continue
        labels += [
            HumanLabel(*digests, *texts[0], label=row.label, who=name, at=at)
            for digests in sorted(known[texts[0]])
        ]
    if not labels:
        raise DataError(
            f"{file}: none of its {len(rows)} rows is of a stored answer; "
            "prompt and answer must be word for word what `primum label sample` wrote"
        )
    return Matched(labels, unknown)


def _readings(text: str) -> list[str]:
    """A cell that began as a formula was given an apostrophe when it was written."""
    return [text, text[1:]] if text.startswith("'") else [text]


@label.command("list")
@click.option("--json", "as_json", is_flag=True)
@placed
def list_labels(as_json: bool, config: Path | None, data_dir: Path | None) -> None:
    """The labels kept. Prompts and answers are not shown; they may be patient data."""
    with open_place(config, data_dir) as place:
        found = place.store.evidence.labels()
        if as_json:
            click.echo(to_json_text([_body(one) for one in found], indent=1))
            return
        console = Console(highlight=False)
        table = Table("prompt", "answer", "label", "by", "at", box=None)
        for one in found:
            table.add_row(
                short(one.prompt_digest),
                short(one.answer_digest),
                one.label.value,
                escape(printable(one.who)),
                one.at.strftime("%Y-%m-%d %H:%M"),
            )
        if found:
            console.print(table)
        console.print(_summary(found), markup=False)


def _summary(found: Sequence[HumanLabel]) -> str:
    if not found:
        return "No labels yet; `primum label sample CYCLE` draws answers to label."
    answers = len({one.answer_digest for one in found})
    settled = settle((one.answer_digest, one.label) for one in found)
    counts = Counter(one.value for one in settled.values())
    told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    people = len({one.who for one in found})
    return (
        f"{len(found)} labels of {answers} answers by {people} people: {told or 'nothing settled'}; "
        f"{answers - len(settled)} without a majority"
    )


def _body(one: HumanLabel) -> dict[str, Any]:
    return {
        "prompt_digest": one.prompt_digest,
        "answer_digest": one.answer_digest,
        "label": one.label.value,
        "who": one.who,
        "at": one.at.isoformat(),
    }


@label.command("sample")
@click.argument("cycle_id", metavar="CYCLE", type=int)
@click.option("--candidate", help="Its name (the winner, the leader or the only one).")
@click.option("--prompts", type=click.IntRange(1), default=50, show_default=True, help="How many, at least.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="A .jsonl or .csv file."
)
@placed
def sample(
    cycle_id: int,
    candidate: str | None,
    prompts: int,
    output: Path,
    config: Path | None,
    data_dir: Path | None,
) -> None:
    """Draw selection prompts at random; write both answers to each, for people to label.

    Whole base prompts are drawn, always in the same order, so a larger number goes on where a smaller one
    stopped. Answers that have a label are left out. It does not say whose answer is whose. Fill in `label`
    (Accept, Caution or Refuse) and `who`, then `primum label import`.
    """
    if output.suffix.lower() not in (".jsonl", ".csv"):
        raise click.UsageError("--output must end in .jsonl or .csv")
    with open_place(config, data_dir) as place:
        row = place.store.cycles.get(cycle_id)
        pair = compared(place.store, row, candidate)
        labelled = {one.answer_digest for one in place.store.evidence.labels()}
        rows, asked = draw(pair, prompts, labelled, seed=row.seed)
        as_csv = output.suffix.lower() == ".csv"
        lines = to_csv(rows) if as_csv else "".join(to_json_text(one) + "\n" for one in rows)
        write_private(output, lines)
        click.echo(f"{len(rows)} answers to {asked} prompts of cycle {cycle_id} are in {output}")


def draw(pair: Compared, prompts: int, labelled: set[str], *, seed: int) -> tuple[list[dict[str, str]], int]:
    """Rows to label, and to how many prompts: base prompts in random order until there are `prompts`."""
    rng = random.Random(seed_from(seed, "labels"))
    both = {one.prompt.digest for one in pair.before} & {one.prompt.digest for one in pair.after}
    texts: dict[str, dict[str, list[tuple[str, str, str]]]] = {}
    for one in (*pair.before, *pair.after):
        if one.prompt.digest in both:
            answers = texts.setdefault(one.prompt.base_prompt, {}).setdefault(one.prompt.digest, [])
            answers.append((one.response.answer_digest, one.prompt.text, one.response.text))
    order = sorted(texts)
    rng.shuffle(order)
    drawn: dict[str, dict[str, str]] = {}
    asked = 0
    for base in order:
        if asked >= prompts:
            break
        asked += len(texts[base])
        for answers in texts[base].values():
            for digest, prompt, answer in answers:
                if digest not in labelled:
                    drawn[digest] = {"prompt": prompt, "answer": answer, "label": "", "who": ""}
    keys = sorted(drawn)  # digests: nothing in the order tells whose answer it is
    rng.shuffle(keys)
    return [drawn[key] for key in keys], asked


def _listed(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
    return ", ".join(map(str, numbers[:_NAMED])) + more
