"""Starts a cycle's worker process and reads its progress."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from threading import Thread
from typing import Any

from policies.engines.environment import compute_environment


class Worker:
    """One running worker. Its stdout is progress; the end of its stderr is kept for when it dies."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._stderr: deque[str] = deque(maxlen=40)
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "daemon.cycle.worker", *arguments, "--parent-pid", str(os.getpid())],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",  # a byte that is no UTF-8 must not end who reads: a full pipe stops the worker
            env=compute_environment(),
        )
        self._reader = Thread(target=self._drain, daemon=True)
        self._reader.start()

    def events(self) -> Iterator[dict[str, Any]]:
        """Progress events until the worker ends."""
        for line in self._process.stdout or ():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a library printed something; it is no event
            if isinstance(event, dict):
                yield event

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        code = self._process.wait()
        self._reader.join(timeout=5)
        return code

    def last_words(self) -> str:
        """The last line that it wrote to stderr: an exception's message, never a prompt."""
        return self._stderr[-1] if self._stderr else "no output"

    def trace(self) -> str:
        return "\n".join(self._stderr)

    def stop(self, timeout_s: float = 10.0) -> None:
        """End it. What it had stored stays, and the cycle goes on with the next worker."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _drain(self) -> None:
        for line in self._process.stderr or ():
            if line.strip():
                self._stderr.append(line.rstrip())
