"""Train one candidate: `python -m policies.training [JOB.json]`. Progress is JSON lines on stdout.

Without an argument the job's file is read from standard input, once everything is loaded: so the process can
be started before there is a job. Nothing to read, and there is none.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from policies.engines.server import exit_with_parent
from policies.errors import PrimumError
from policies.training.recipe import TrainingJob


def main(arguments: list[str]) -> int:
    """The exit code: 0, or that of the error told in the last event."""
    if len(arguments) > 1:
        sys.stderr.write("usage: python -m policies.training [JOB.json]\n")
        return 2
    exit_with_parent(os.getppid())  # an orphan would train on beside its successor
    file = arguments[0] if arguments else _await_job()
    if not file:
        return 0
    try:
        _train(TrainingJob.read(Path(file)))
    except PrimumError as error:
        sys.stderr.write(f"primum: {error}\n")
        from policies.training.core import print_report

        print_report({"event": "failed", "error": str(error)})
        return error.exit_code
    return 0


def _await_job() -> str:
    """The path on the first line of standard input; empty where that ends without one."""
    import policies.training.core
    import policies.training.dpo
    import policies.training.kto  # noqa: F401 - seconds, spent before the job is there

    return sys.stdin.readline().rstrip("\n")


def _train(job: TrainingJob) -> None:
    if job.recipe.method == "dpo":
        from policies.training.dpo import build
    else:
        from policies.training.kto import build
    from policies.training.core import run

    run(job, build)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
