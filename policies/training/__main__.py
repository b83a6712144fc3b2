"""Train one candidate: `python -m policies.training JOB.json`. Progress is JSON lines on stdout."""

from __future__ import annotations

import sys
from pathlib import Path

from policies.errors import PrimumError
from policies.training.recipe import TrainingJob


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m policies.training JOB.json\n")
        return 2
    from policies.training.core import print_report, run

    try:
        job = TrainingJob.read(Path(arguments[0]))
        if job.recipe.method == "dpo":
            from policies.training.dpo import build
        else:
            from policies.training.kto import build
        run(job, build)
    except PrimumError as error:
        print_report({"event": "failed", "error": str(error)})
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
