"""What every stage of one run of a cycle works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from daemon.cycle.answers import Asking, Report
from daemon.cycle.plan import Plan
from daemon.cycle.trainers import Trainers
from daemon.store.rows import CycleRow
from daemon.store.store import Store
from daemon.workshop import Workshop
from policies.records import Policy


@dataclass(frozen=True)
class CycleRun:
    """`folder` is the cycle's own, `adapters_dir` that of all candidates; `now` gives instants in UTC."""

    cycle: CycleRow
    plan: Plan
    store: Store
    workshop: Workshop
    asking: Asking
    trainers: Trainers
    incumbent: Policy
    folder: Path
    adapters_dir: Path
    now: Callable[[], datetime]
    report: Report
