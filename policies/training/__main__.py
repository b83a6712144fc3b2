"""Train one candidate: `python -m policies.training JOB.json`. Progress is JSON lines on stdout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from policies.engines.server import exit_with_parent
from policies.errors import PrimumError
from policies.training.recipe import TrainingJob


def main(arguments: list[str]) -> int:
    """The exit code: 0, or that of the error told in the last event."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m policies.training JOB.json\n")
        return 2
    exit_with_parent(os.getppid())  # an orphan would train on beside its successor
    try:
        job = TrainingJob.read(Path(arguments[0]))
        _train(job)
    except PrimumError as error:
        sys.stderr.write(f"primum: {error}\n")
        from policies.training.core import print_report

        print_report({"event": "failed", "error": str(error)})
        return error.exit_code
    return 0


def _train(job: TrainingJob) -> None:
    if job.recipe.method == "dpo":
        from policies.training.dpo import build
    else:
        from policies.training.kto import build
    from policies.training.core import run

    run(job, build)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
