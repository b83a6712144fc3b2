"""Candidates, each trained in a process of its own: a crash of one leaves the worker and the other alive."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import IO, Any

from policies.engines.environment import compute_environment
from policies.errors import TrainingError
from policies.training.recipe import TrainingJob

Report = Callable[[dict[str, Any]], None]


def train_in_process(job: TrainingJob, *, job_file: Path, timeout_s: float, report: Report) -> dict[str, Any]:
    """Run `python -m policies.training`; the candidate's card. TrainingError with the reason otherwise.

    A finished candidate in `job.output_dir` is taken as it is.
    """
    card_file = Path(job.output_dir) / "card.json"
    if card_file.is_file():
        card: dict[str, Any] = json.loads(card_file.read_text())
        if (
            card["preferences_digest"] == job.preferences_digest
            and card["recipe_digest"] == job.recipe.digest
        ):
            return card
    job.write(job_file)
    tail: deque[str] = deque(maxlen=30)
    reason: list[str] = []
    with subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "policies.training", str(job_file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=compute_environment(),
    ) as process:
        reader = Thread(target=_drain, args=(process.stderr, tail), daemon=True)
        reader.start()
        watchdog = _Deadline(process, timeout_s)
        watchdog.start()
        for line in process.stdout or ():
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if not isinstance(event, dict):  # a library printed something
                tail.append(line.rstrip())
                continue
            if event.get("event") == "failed":
                reason.append(event["error"])
            report(event)
        code = process.wait()
        watchdog.done = True
        reader.join(timeout=5)
    if code == 0 and card_file.is_file():
        finished: dict[str, Any] = json.loads(card_file.read_text())
        return finished
    if watchdog.expired:
        raise TrainingError(
            f"{job.recipe.method}: training took longer than training.timeout_s = {timeout_s:g}"
        )
    (job_file.parent / f"{job.recipe.method}.log").write_text("\n".join(tail))
    last = reason[0] if reason else (tail[-1] if tail else "no output")
    raise TrainingError(f"{job.recipe.method}: the training process ended with code {code}: {last}")


class _Deadline(Thread):
    """Kills a training process that outlives its time."""

    def __init__(self, process: subprocess.Popen[str], timeout_s: float) -> None:
        super().__init__(daemon=True)
        self._process, self._timeout_s = process, timeout_s
        self.expired = False
        self.done = False

    def run(self) -> None:
        try:
            self._process.wait(timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            self.expired = True
            self._process.kill()


def _drain(stream: IO[str] | None, tail: deque[str]) -> None:
    for line in stream or ():
        tail.append(line.rstrip())
