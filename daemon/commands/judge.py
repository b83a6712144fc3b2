"""`primum judge list|calibrate|attack|train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from daemon.commands.common import placed
from daemon.commands.heavy import workshop_of
from daemon.cycle.trust import save_report, stored_report
from daemon.wiring import Place, open_place
from daemon.workshop import REPORT_FILE, shipped_reports
from judges.attacks.report import AttackReport, run_attacks
from judges.attacks.suite import build_suite
from judges.calibration.gate import Bars, gate
from judges.calibration.measure import calibrate as measure
from judges.calibration.pictures import confusion_picture, reliability_diagram
from judges.calibration.report import CalibrationReport
from judges.labels import read_labels
from judges.recipes import TrainingRecipe, training_recipe
from judges.rubric import Rubric
from judges.shipped import all_labels, held_out_labels
from policies.cares import LABELS
from policies.digests import short

_DEFAULT = TrainingRecipe()


@click.group()
def judge() -> None:
    """Look at judges, measure them, attack them, train them."""


def bars_of(place: Place) -> Bars:
    judging = place.settings.judging
    return Bars(judging.train_kappa, judging.validate_kappa, judging.max_age_days, judging.max_unscored)


@judge.command("list")
@placed
def list_judges(config: Path | None, data_dir: Path | None) -> None:
    """Each judge: its digest, its last calibration, what it may do, and why not."""
    with open_place(config, data_dir) as place:
        workshop = workshop_of(place)
        found = shipped_reports(place.settings.judging.registry)
        shipped = {report.judge_digest: report for report in found}
        table = Table("judge", "kind", "digest", "κ", "may train", "may validate", "why not", box=None)
        for name, settings in place.settings.judging.registry.items():
            try:
                digest = workshop.judge(name).digest
            except Exception as error:  # noqa: BLE001 - one judge that cannot be made must not hide the others
                table.add_row(name, settings.kind, "–", "–", "no", "no", " ".join(str(error).split()))
                continue
            report = stored_report(place.store, digest) or shipped.get(digest)
            results = {
                use: gate(
                    report,
                    judge_digest=digest,
                    use=use,
                    bars=bars_of(place),
                    now=place.now(),
                    judge_name=name,
                )
                for use in ("train", "validate")
            }
            why = next((one.sentence for one in results.values() if not one.allowed), "")
            kappa = report.overall.kappa if report else None
            shown = f"{kappa.value:.2f} [{kappa.low:.2f}, {kappa.high:.2f}]" if kappa else "–"
            words = ["yes" if results[use].allowed else "no" for use in ("train", "validate")]
            table.add_row(name, settings.kind, short(digest), shown, *words, why)
        Console().print(table)


@judge.command("calibrate")
@click.argument("name", metavar="JUDGE")
@click.option(
    "--labels", type=click.Path(path_type=Path, exists=True), help="JSONL or CSV (the shipped held-out rows)."
)
@click.option("--pictures", type=click.Path(path_type=Path), help="Folder for the diagrams.")
@click.option("--json", "as_json", is_flag=True)
@placed
def calibrate(
    name: str,
    labels: Path | None,
    pictures: Path | None,
    as_json: bool,
    config: Path | None,
    data_dir: Path | None,
) -> None:
    """Measure a judge against labelled answers and store the result; gates read it."""
    with open_place(config, data_dir) as place:
        rows = read_labels(labels) if labels else list(held_out_labels())
        one = workshop_of(place).judge(name)
        report = measure(one, rows, seed=place.settings.seed, resamples=2000, at=place.now())
        save_report(place.store, report)
        folder = pictures or place.paths.data_dir / "judges" / short(report.judge_digest)
        folder.mkdir(parents=True, exist_ok=True)
        if report.confidence is not None:  # judges without probabilities have nothing to be reliable about
            reliability_diagram(report, folder / "reliability.png")
        confusion_picture(report, folder / "confusion.png")
        if as_json:
            click.echo(json.dumps(report.to_json(), indent=1))
            return
        show_report(report)
        for use in ("train", "validate"):
            result = gate(
                report,
                judge_digest=one.digest,
                use=use,
                bars=bars_of(place),
                now=place.now(),
                judge_name=name,
            )
            click.echo(result.sentence)
        click.echo(f"Pictures: {folder}")


def show_report(report: CalibrationReport) -> None:
    """The figures of a calibration for a person."""
    console = Console(highlight=False)
    found = report.overall
    kappa = f"{found.kappa.value:.3f} [{found.kappa.low:.3f}, {found.kappa.high:.3f}]" if found.kappa else "–"
    f1 = "–" if found.macro_f1 is None else f"{found.macro_f1:.3f}"
    console.print(
        f"{report.judge_name}: {report.n} rows, {report.unscored} unscored, macro-F1 {f1}, κ {kappa}"
    )
    table = Table("true \\ judged", *map(str, LABELS), "precision", "recall", "F1", box=None)
    for place, label in enumerate(LABELS):
        figures = found.classes[str(label)]
        cells = [
            f"{value:.2f}" if value is not None else "–"
            for value in (figures.precision, figures.recall, figures.f1)
        ]
        table.add_row(str(label), *(f"{count:.0f}" for count in found.confusion[place]), *cells)
    console.print(table)
    if report.confidence is not None:
        sure = report.confidence
        console.print(f"Expected calibration error {_told(sure, 'ece')}, temperature {sure.temperature:.2f}")


def _told(confidence: Any, what: str) -> str:
    before, after = getattr(confidence, f"{what}_before"), getattr(confidence, f"{what}_after")
    return f"{before:.3f}, after temperature scaling {after:.3f}"


@judge.command("attack")
@click.argument("name", metavar="JUDGE")
@click.option("--json", "as_json", is_flag=True)
@placed
def attack(name: str, as_json: bool, config: Path | None, data_dir: Path | None) -> None:
    """Put the attack suite to a judge and print the flip rate of each family."""
    with open_place(config, data_dir) as place:
        report = run_attacks(workshop_of(place).judge(name), build_suite())
        if as_json:
            click.echo(json.dumps(report.to_json(), indent=1))
        else:
            _show_attacks(report)


def _show_attacks(report: AttackReport) -> None:
    table = Table("family", "attacks", "unscored", "flips", "rate", "95 % interval", box=None)
    for family, count in [*report.families.items(), ("structural", report.structural), ("all", report.total)]:
        rate = "–" if count.rate is None else f"{100 * count.rate:.1f} %"
        span = (
            "–"
            if count.lower is None or count.upper is None
            else f"{100 * count.lower:.1f}–{100 * count.upper:.1f} %"
        )
        table.add_row(family, str(count.n), str(count.unscored), str(count.flips), rate, span)
    Console().print(f"{report.judge_name}: right on {report.clean_right} of {report.clean_n} clean seeds")
    Console().print(table)


@judge.command("train")
@click.option(
    "--recipe",
    "recipe_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Recipe file, as in configs/judges; the flags below win over it.",
)
@click.option("--base", metavar="MODEL", help=f"Base model. [default: {_DEFAULT.base}]")
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True), help="JSONL or CSV (the shipped labels)."
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder of the new adapter.")
@click.option("--rubric", help=f"Shipped rubric or a file. [default: {_DEFAULT.rubric}]")
@click.option("--epochs", type=click.IntRange(1), help=f"[default: {_DEFAULT.epochs}]")
@click.option("--learning-rate", type=float, help=f"[default: {_DEFAULT.learning_rate}]")
@click.option(
    "--attacks-per-family",
    type=click.IntRange(0),
    help="Attacked training rows of each family, from templates that the suite does not use; 0 for none. "
    "[default: each family's own number]",
)
@click.option("--seed", type=int, help=f"[default: {_DEFAULT.seed}]")
@placed
def train(
    recipe_file: Path | None,
    data: Path | None,
    output: Path,
    config: Path | None,
    data_dir: Path | None,
    **flags: Any,
) -> None:
    """Fine-tune a judge: LoRA, class weights, early stopping on macro-F1; leaves an adapter with a card."""
    asked = training_recipe(recipe_file, flags)
    rubric = Rubric.load(asked.rubric)
    from judges.local import LocalJudge
    from judges.training import JudgeRecipe, split_rows
    from judges.training_job import JudgeTrainingJob, labelled, train_in_process
    from policies.engines.models import resolve_model

    with open_place(config, data_dir) as place:
        model = resolve_model(asked.base, cache_dir=place.paths.models)
        job = JudgeTrainingJob(
            model_path=str(model),
            output_dir=str(output.resolve()),
            recipe=asked.hyperparameters(),
            rubric=asked.rubric,
            data=str(data) if data else None,
            attacks_per_family=asked.attacks_per_family,
            dtype=asked.dtype,
            threads=place.settings.model.threads,
            shipped=asked.shipped_labels,
        )
        train_in_process(job)
        judged = LocalJudge(
            name=output.name,
            model_path=model,
            rubric=rubric,
            adapter_path=output,
            dtype=asked.dtype,
            label_bias=asked.label_bias,
            layers=asked.layers,
        )
        rows = labelled(job) if data else all_labels()  # shipped held-out rows are held out of every recipe
        held_out = split_rows(rows, JudgeRecipe(**job.recipe)).held_out
        report = measure(judged, held_out, seed=asked.seed, resamples=2000, at=place.now())
        (output / REPORT_FILE).write_text(json.dumps(report.to_json(), indent=1))
        reliability_diagram(report, output / "reliability.png")
        confusion_picture(report, output / "confusion.png")
        show_report(report)
