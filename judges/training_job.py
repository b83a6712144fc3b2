"""Train a judge in a process of its own: `python -m judges.training_job JOB.json`.

The allocator's settings must be in the environment before a process starts, which a command that is already
running cannot give itself. Progress is JSON lines on stderr; the last line on stdout tells how it ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from judges.attacks.suite import training_rows
from judges.labels import LabelledRow, read_labels
from judges.rubric import Rubric
from judges.shipped import FILES, all_labels
from policies import errors
from policies.engines.environment import compute_environment
from policies.engines.server import exit_with_parent
from policies.errors import PrimumError, TrainingError


@dataclass(frozen=True)
class JudgeTrainingJob:
    """All that the process needs. `data` is a label file, or None for `shipped` ones (by default all)."""

    model_path: str
    output_dir: str
    recipe: dict[str, Any]
    rubric: str = "compact"
    data: str | None = None
    attacks_per_family: int | None = None
    dtype: str = "auto"
    threads: int | None = None
    shipped: Sequence[str] = FILES


def labelled(job: JudgeTrainingJob) -> list[LabelledRow]:
    """The rows of a label file, or shipped ones."""
    return read_labels(Path(job.data)) if job.data else list(all_labels(tuple(job.shipped)))


def train_in_process(job: JudgeTrainingJob) -> dict[str, Any]:
    """Train in a child process whose progress goes to this one's stderr; the card of the adapter.

    The child's PrimumError is raised here; TrainingError where it ended without telling why.
    """
    with tempfile.TemporaryDirectory(prefix="primum-judge-") as folder:
        file = Path(folder) / "job.json"
        file.write_text(json.dumps(asdict(job)))
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "judges.training_job", str(file)],
            stdout=subprocess.PIPE,
            text=True,
            env=compute_environment(),
            check=False,
        )
    told = _last_event(done.stdout)
    if done.returncode == 0 and told.get("event") == "trained":
        card: dict[str, Any] = json.loads((Path(job.output_dir) / "card.json").read_text())
        return card
    kind = getattr(errors, str(told.get("kind")), TrainingError)
    raise kind(told.get("error") or f"judge training ended with code {done.returncode} and gave no reason")


def _last_event(output: str) -> dict[str, Any]:
    for line in reversed(output.splitlines()):
        try:
            event = json.loads(line)
        except ValueError:  # a library printed something
            continue
        if isinstance(event, dict):
            return event
    return {}


def run(job: JudgeTrainingJob) -> dict[str, Any]:
    """Read the rows, attack the training ones, train; the card. Progress goes to stderr."""
    from judges.training import JudgeRecipe, split_rows, train_judge

    recipe = JudgeRecipe(**job.recipe)
    parts = split_rows(labelled(job), recipe)
    return train_judge(
        model_path=Path(job.model_path),
        parts=parts,
        rubric=Rubric.load(job.rubric),
        output_dir=Path(job.output_dir),
        recipe=recipe,
        extra_train=training_rows(parts.train, per_family=job.attacks_per_family, seed=recipe.seed),
        dtype=job.dtype,
        threads=job.threads,
        report=lambda event: _tell(sys.stderr, event),
    )


def _tell(stream: TextIO, event: dict[str, Any]) -> None:
    stream.write(json.dumps(event) + "\n")
    stream.flush()


def main(arguments: list[str]) -> int:
    """The exit code: 0, or that of the error told in the last line on stdout."""
    exit_with_parent(os.getppid())  # an orphan would train on beside its successor
    try:
        run(JudgeTrainingJob(**json.loads(Path(arguments[0]).read_text())))
    except PrimumError as error:
        _tell(sys.stdout, {"event": "failed", "kind": type(error).__name__, "error": str(error)})
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    _tell(sys.stdout, {"event": "trained"})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
