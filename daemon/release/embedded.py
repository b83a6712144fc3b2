"""The embedded default: our own policy server as a child process, watched and restarted with backoff.

It speaks what vLLM speaks, so that release, routing and reconciliation are one code for both.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import IO

from policies.engines.server import API_KEY_VARIABLE
from policies.errors import EngineError

_log = logging.getLogger(__name__)


class ServerState(StrEnum):
    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    BACKING_OFF = "backing_off"


def server_command(
    *,
    model: Path,
    adapters_dir: Path,
    base_model_name: str = "base",
    host: str = "127.0.0.1",
    threads: int | None = None,
    dtype: str = "auto",
    batch_size: int = 16,
) -> list[str]:
    """The command line of the real server; EmbeddedServer adds port, ready file and parent."""
    command = [sys.executable, "-m", "policies.engines.server", "--model", str(model), "--host", host]
    command += ["--adapters-dir", str(adapters_dir), "--served-model-name", base_model_name]
    command += ["--dtype", dtype, "--batch-size", str(batch_size)]
    return command if threads is None else [*command, "--threads", str(threads)]


class EmbeddedServer:
    """One child process. Call `tick` from the loop: it notices readiness, hangs at start and death.

    `clock` gives monotonic seconds. The wait before a restart doubles from backoff_s to backoff_cap_s and
    starts anew after `stable_s` seconds of readiness. `generation` rises each time the server becomes ready:
    its adapters are gone then, so reconcile.
    """

    def __init__(
        self,
        *,
        command: Sequence[str],
        run_dir: Path,
        clock: Callable[[], float],
        host: str = "127.0.0.1",
        environment: Mapping[str, str] | None = None,
        log_file: Path | None = None,
        start_timeout_s: float = 300.0,
        stop_timeout_s: float = 15.0,
        backoff_s: float = 1.0,
        backoff_cap_s: float = 60.0,
        stable_s: float = 300.0,
    ) -> None:
        self._command, self._host, self._clock = list(command), host, clock
        self._ready_file, self._log_file = run_dir / "policy-server.json", log_file
        self._environment = dict(os.environ if environment is None else environment)
        self._start_timeout_s, self._stop_timeout_s = start_timeout_s, stop_timeout_s
        self._backoff_s, self._backoff_cap_s, self._stable_s = backoff_s, backoff_cap_s, stable_s
        self._process: subprocess.Popen[bytes] | None = None
        self._since = 0.0
        self._failures = 0
        self._port: int | None = None
        self.state = ServerState.STOPPED
        self.generation = 0
        # Other users of this machine reach the loopback too: the admin endpoints want a key, which lives as
        # long as this object and is told to the child by its environment alone.
        self.api_key = secrets.token_urlsafe(32)

    @property
    def url(self) -> str | None:
        """Where the server answers; None while it does not. `lambda: server.url` is an upstream's URL."""
        return f"http://{self._host}:{self._port}" if self.state is ServerState.READY else None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the child and return at once. Starting what runs does nothing."""
        if self.state in (ServerState.STOPPED, ServerState.BACKING_OFF):
            self._spawn()

    def tick(self) -> ServerState:
        """Look at the child, act on what is found, tell the state."""
        if self.state in (ServerState.STARTING, ServerState.READY):
            self._check()
        elif self.state is ServerState.BACKING_OFF and self._clock() >= self._since + self._wait_s():
            try:
                self._spawn()
            except EngineError as error:
                self._failed(str(error))
        return self.state

    def stop(self) -> None:
        """End the child: SIGTERM, then SIGKILL after `stop_timeout_s`."""
        self._end()
        self.state, self._failures = ServerState.STOPPED, 0

    def _wait_s(self) -> float:
        return min(self._backoff_cap_s, self._backoff_s * 2.0 ** min(self._failures - 1, 30))

    def _spawn(self) -> None:
        own = ["--port", "0", "--ready-file", str(self._ready_file), "--parent-pid", str(os.getpid())]
        log: IO[bytes] | None = None
        try:
            self._ready_file.parent.mkdir(parents=True, exist_ok=True)
            self._ready_file.unlink(missing_ok=True)
            log = self._log_file.open("ab") if self._log_file else None
            self._process = subprocess.Popen(  # noqa: S603 - the command is the daemon's own, not a user's
                [*self._command, *own],
                env={**self._environment, API_KEY_VARIABLE: self.api_key},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        except OSError as error:
            raise EngineError(f"the policy server cannot be started: {error}") from error
        finally:
            if log:
                log.close()
        self.state, self._since = ServerState.STARTING, self._clock()

    def _check(self) -> None:
        code = self._process.poll() if self._process else None
        now = self._clock()
        if code is not None:
            self._failed(f"ended with exit status {code}")
        elif self.state is ServerState.STARTING:
            port = self._announced_port()
            if port is not None:
                self._port, self.state, self._since = port, ServerState.READY, now
                self.generation += 1
            elif now - self._since > self._start_timeout_s:
                self._failed(f"was not ready within {self._start_timeout_s:g} s")
        elif now - self._since > self._stable_s:
            self._failures = 0

    def _announced_port(self) -> int | None:
        try:
            told = json.loads(self._ready_file.read_text())
            # The pid tells a file of this child from one that another process left.
            return int(told["port"]) if told["pid"] == self.pid else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _failed(self, what: str) -> None:
        self._end()
        self._failures += 1
        self.state, self._since = ServerState.BACKING_OFF, self._clock()
        _log.error("the policy server %s; next start in %.0f s", what, self._wait_s())

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(self._stop_timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
