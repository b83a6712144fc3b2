"""Train one candidate: `python -m policies.training [JOB.json]`. Progress is JSON lines on stdout.

Without an argument the job's file is read from standard input, once everything is loaded: so the process can
be started before there is a job. Nothing to read, and there is none. With `--base MODEL CACHE_DIR` instead it
sees to it first that the base model is there, which in a first cycle has to be converted.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from policies.engines.server import exit_with_parent
from policies.errors import PrimumError
from policies.training.recipe import TrainingJob


def main(arguments: list[str]) -> int:
    """The exit code: 0, or that of the error told in the last event."""
    base = arguments[1:] if arguments[:1] == ["--base"] else []
    if len(arguments) > 1 and len(base) != 2:
        sys.stderr.write("usage: python -m policies.training [JOB.json | --base MODEL CACHE_DIR]\n")
        return 2
    exit_with_parent(os.getppid())  # an orphan would train on beside its successor
    file = arguments[0] if arguments and not base else _await_job(*base)
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


def _await_job(model: str | None = None, cache_dir: str | None = None) -> str:
    """The path on the first line of standard input; empty where that ends without one."""
    from policies.engines.models import resolve_model

    if model is not None and cache_dir is not None:
        with contextlib.suppress(Exception):  # who wanted it early will meet the reason himself
            resolve_model(model, cache_dir=Path(cache_dir))
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
