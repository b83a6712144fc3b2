"""A cycle's heavy work in a process of its own: `python -m daemon.cycle.worker [--config F] [--data-dir D]`.

Takes up the unfinished cycle or starts a new one, runs it until it needs a person, and tells its progress as
JSON lines on stdout. One worker at a time: the kernel frees the lock however the process ends.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daemon.cycle.planning import calibration_rows, make_plan
from daemon.cycle.runner import CycleRunner
from daemon.cycle.trainers import Trainers
from daemon.cycle.trust import Trustee
from daemon.stages import STAGES
from daemon.store.rows import CycleRow, CycleState
from daemon.wiring import Place, open_place
from daemon.workshop import Workshop, shipped_reports
from judges.calibration.gate import Bars
from policies.digests import seed_from
from policies.engines.server import exit_with_parent
from policies.errors import PrimumError, StateError


def tell(event: dict[str, Any]) -> None:
    """One JSON object a line."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


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


def run_cycle(place: Place, trainers: Trainers) -> CycleRow:
    """Run the open cycle, or a new one, to the next state that needs a person."""
    settings, store = place.settings, place.store
    if _has_to_train(store.cycles.open_cycle()):
        trainers.start_ahead()  # beside what has to be read and converted
    if store.releases.deployed() is None:
        tell({"event": "progress", "what": "preparing the base model", "done": 0, "of": 1})
        base = Workshop(settings=settings, paths=place.paths, store=store).base_policy
        store.releases.record_initial(base, place.now())
        tell({"event": "progress", "what": "preparing the base model", "done": 1, "of": 1})
    cycle = _open_or_new(place)
    tell({"event": "cycle", "cycle": cycle.id, "state": cycle.state.value})
    if cycle.state is CycleState.WAITING:
        return cycle
    if cycle.state is CycleState.HELD:
        cycle = store.cycles.advance(cycle.id, CycleState.HELD, CycleState.RUNNING, cycle.stage, place.now())
    judging = settings.judging
    runner = CycleRunner(
        cycle=cycle,
        plan=make_plan(settings, cycle_seed=cycle.seed),
        store=store,
        workshop=Workshop(settings=settings, paths=place.paths, store=store, cycle_id=cycle.id),
        trustee=Trustee(
            store=store,
            bars=Bars(
                judging.train_kappa, judging.validate_kappa, judging.max_age_days, judging.max_unscored
            ),
            now=place.now,
            labels=calibration_rows(settings),
            sentinel_alpha=judging.sentinel_alpha,
            seed=settings.seed,
            shipped=shipped_reports(),
        ),
        trainers=trainers,
        folder=place.paths.cycle(cycle.id),
        adapters_dir=place.paths.adapters,
        now=place.now,
        report=tell,
    )
    return runner.run()


def _has_to_train(cycle: CycleRow | None) -> bool:
    """Is training still to come in `cycle`, or in the new one where there is none?"""
    if cycle is None:
        return True
    return cycle.state is not CycleState.WAITING and STAGES.index(cycle.stage) <= STAGES.index("train")


def _open_or_new(place: Place) -> CycleRow:
    """An unfinished cycle goes on; if the configuration changed since it began, that is said and logged."""
    store, settings = place.store, place.settings
    cycle = store.cycles.open_cycle()
    if cycle is not None:
        if cycle.config_digest != settings.digest and cycle.state is not CycleState.WAITING:
            store.cycles.log("configuration_changed", place.now(), cycle.id, digest=settings.digest)
            tell({"event": "warning", "text": f"the configuration changed since cycle {cycle.id} began"})
        return cycle
    deployed = store.releases.deployed()
    if deployed is None:
        raise StateError("nothing is deployed yet; run `primum serve` or `primum cycle run` again")
    latest = store.cycles.latest()
    return store.cycles.create(
        incumbent=store.releases.policy(deployed.policy_digest),
        seed=seed_from(settings.seed, "cycle", latest.id + 1 if latest else 1),
        config_digest=settings.digest,
        config=settings.public(),
        at=place.now(),
        stage="prepare",
    )


if __name__ == "__main__":
    sys.exit(main())
