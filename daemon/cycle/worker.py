"""A cycle's heavy work in a process of its own: `python -m daemon.cycle.worker [--config F] [--data-dir D]`.

Takes up the unfinished cycle or starts a new one, runs it until it needs a person, and tells its progress as
JSON lines on stdout. One worker at a time: the kernel frees the lock however the process ends.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon.cycle.telling import tell
from daemon.cycle.trainers import Trainers
from daemon.stages import STAGES
from daemon.store.rows import CycleRow, CycleState
from daemon.wiring import open_place
from policies.engines.server import exit_with_parent
from policies.errors import PrimumError, StateError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m daemon.cycle.worker")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--parent-pid", type=int)
    arguments = parser.parse_args(argv)
    if arguments.parent_pid:
        exit_with_parent(arguments.parent_pid)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        with (
            open_place(arguments.config, arguments.data_dir) as place,
            only_one(place.paths.run / "worker.lock"),
            Trainers() as trainers,
        ):
            if _has_to_train(place.store.cycles.open_cycle()):
                trainers.start_ahead(base=place.settings.model.name, cache_dir=place.paths.models)
            from daemon.cycle.working import run_cycle  # seconds, in which the process above gets on

            row = run_cycle(place, trainers)
    except PrimumError as error:
        tell({"event": "error", "error": str(error), "exit_code": error.exit_code})
        return error.exit_code
    tell({"event": "end", "cycle": row.id, "state": row.state.value, "message": row.message})
    return 0


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Hold the worker lock. StateError where another worker has it."""
    with lock.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(
                "another worker is running a cycle on this data directory; wait for it"
            ) from None
        yield


def _has_to_train(cycle: CycleRow | None) -> bool:
    """Is training still to come in `cycle`, or in the new one where there is none?"""
    if cycle is None:
        return True
    return cycle.state is not CycleState.WAITING and STAGES.index(cycle.stage) <= STAGES.index("train")


if __name__ == "__main__":
    sys.exit(main())
