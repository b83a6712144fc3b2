"""Candidates, each trained in a process of its own: a crash of one leaves the worker and the other alive.

Such a process loads libraries for the better part of ten seconds before it can train. So one may be started
ahead of its job: with the worker, beside what that has to load and read, or beside the training before it. In
a first cycle it converts the base model meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import IO, Any

from policies.engines.environment import compute_environment
from policies.errors import TrainingError
from policies.training.recipe import TrainingJob

Report = Callable[[dict[str, Any]], None]
_TAIL = 30  # last lines of what a process says that are kept for the error


class Trainers:
    """Starts training processes; leaving it as a context ends the one that still waits for a job."""

    def __init__(self) -> None:
        self._waiting: _Trainer | None = None

    def __enter__(self) -> Trainers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.dismiss_waiting()

    def start_ahead(self, *, base: str | None = None, cache_dir: Path | None = None) -> None:
        """Let a process get ready for a job that is still to come; one at most waits.

        With the name of a `base` model and the folder where it is kept it converts that first, where it has
        to be. Nothing depends on it: where no process can be started now, the job starts its own.
        """
        if self._waiting is None:
            given = ["--base", base, str(cache_dir)] if base is not None and cache_dir is not None else []
            with contextlib.suppress(OSError):
                self._waiting = _Trainer(*given)

    def dismiss_waiting(self) -> None:
        """No job is to come: what waits for one ends, and gives back its memory."""
        if self._waiting is not None:
            self._waiting.dismiss()
            self._waiting = None

    def train(
        self, job: TrainingJob, *, job_file: Path, timeout_s: float, report: Report, last: bool = True
    ) -> dict[str, Any]:
        """The card of the candidate that `job` makes; TrainingError with the reason otherwise.

        `timeout_s` seconds, counted from here. A finished candidate in `job.output_dir` is taken as it is.
        With `last` unset another job follows, and its process gets ready beside this one.
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
        trainer, self._waiting = self._take(), None
        try:
            if not last:
                self.start_ahead()
            reason, code = trainer.work(job_file, timeout_s, report)
        finally:
            trainer.dismiss()
        if code == 0 and card_file.is_file():
            finished: dict[str, Any] = json.loads(card_file.read_text())
            return finished
        if trainer.expired:
            raise TrainingError(
                f"{job.recipe.method}: training took longer than training.timeout_s = {timeout_s:g}"
            )
        (job_file.parent / f"{job.recipe.method}.log").write_text("\n".join(trainer.tail))
        last_words = reason or (trainer.tail[-1] if trainer.tail else "no output")
        raise TrainingError(f"{job.recipe.method}: the training process ended with code {code}: {last_words}")

    def _take(self) -> _Trainer:
        """The one that waits, or a new one where there is none or it has died, as of memory, meanwhile."""
        waiting = self._waiting
        if waiting is not None and waiting.died:
            waiting.dismiss()
            waiting = None
        return waiting or _Trainer()


class _Trainer:
    """One `python -m policies.training`, which takes one job from its standard input."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "policies.training", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",  # a library may print anything
            env=compute_environment(),
        )
        self.tail: deque[str] = deque(maxlen=_TAIL)
        self.expired = False
        # From the start: a process whose warnings nobody reads stops at a full pipe.
        self._reader = Thread(target=_drain, args=(self._process.stderr, self.tail), daemon=True)
        self._reader.start()

    @property
    def died(self) -> bool:
        return self._process.poll() is not None

    def work(self, job_file: Path, timeout_s: float, report: Report) -> tuple[str | None, int]:
        """(the reason that the process gave for failing, its exit code)"""
        watchdog = Thread(target=self._kill_after, args=(timeout_s,), daemon=True)
        watchdog.start()
        reason = None
        self._tell(f"{job_file.resolve()}\n")
        for line in self._process.stdout or ():
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if not isinstance(event, dict):  # a library printed something
                self.tail.append(line.rstrip())
                continue
            if event.get("event") == "failed":
                reason = event["error"]
            report(event)
        code = self._process.wait()
        self._reader.join(timeout=5)
        return reason, code

    def dismiss(self) -> None:
        """End the process, whatever it does, and close what leads to it."""
        self._process.kill()
        self._tell("")
        self._process.wait()
        self._reader.join(timeout=5)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _tell(self, line: str) -> None:
        """`line`, and no more after it. A process that has ended tells why by its exit code."""
        if self._process.stdin is None or self._process.stdin.closed:
            return
        try:
            self._process.stdin.write(line)
            self._process.stdin.close()
        except BrokenPipeError:
            pass

    def _kill_after(self, timeout_s: float) -> None:
        try:
            self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.expired = True
            self._process.kill()


def _drain(stream: IO[str] | None, tail: deque[str]) -> None:
    for line in stream or ():
        tail.append(line.rstrip())
