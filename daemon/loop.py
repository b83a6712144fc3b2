"""The daemon: start up, tick until told to stop, shut down. Signals only set a flag; the loop reads it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from daemon.metrics import metrics_text
from daemon.release.controller import ReleaseController, ReleaseState
from daemon.release.embedded import EmbeddedServer, ServerState, server_command
from daemon.release.router import Route
from daemon.release.upstream import Upstream
from daemon.schedule import cron, is_due
from daemon.status import status
from daemon.store.rows import CycleState
from daemon.web.app import create_app
from daemon.web.serving import WebServer
from daemon.wiring import Place, base_policy
from daemon.workers import Worker
from policies.errors import PrimumError

_log = logging.getLogger("primum")
Say = Callable[[str], None]
_LOOK_EVERY_S = 10.0  # at what is served: one small request, where nothing has changed


class Daemon:
    """One installation's daemon. A worker process does the heavy work, a server process answers."""

    def __init__(
        self, place: Place, *, say: Say, arguments: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._place, self._say, self._arguments, self._clock = place, say, arguments, clock
        self._stopping = threading.Event()
        self._trigger = cron(place.settings.schedule.cron)
        self._born: datetime = place.now()
        self._route = Route()
        self._worker: Worker | None = None
        self._watcher: threading.Thread | None = None
        self._released: tuple[int, int] | None = None  # (server generation, release id) that was reconciled
        self._look_again, self._lost = 0.0, False
        self._last_told = ""
        # A worker that dies at once must not be started every second.
        self._failures, self._not_before = 0, 0.0

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        self.startup()
        try:
            while not self._stopping.wait(self._place.settings.schedule.poll_s):
                self.tick()
        finally:
            self.shutdown()

    def stop(self) -> None:
        self._stopping.set()

    def startup(self) -> None:
        settings, paths = self._place.settings, self._place.paths
        self._say("Preparing the base model …")
        folder, _ = base_policy(self._place)
        self._start_policy_server(folder)
        app = create_app(
            route=self._route,
            upstream_url=lambda: self._upstream_url(),
            status=self.status,
            metrics=lambda: metrics_text(self._place.store, serving=self._released is not None),
            ready=lambda: self._route.current is not None and not self._lost,
            allowed_hosts=settings.web.allowed_hosts,
            upstream_api_key=self._upstream_key(),
        )
        self._web = WebServer(app, host=settings.web.host, port=settings.web.port).start()
        (paths.run / "url").write_text(self._web.url)
        self._say(f"Status page and POST /v1/chat/completions at {self._web.url}")

    def _start_policy_server(self, folder: Path) -> None:
        settings, paths = self._place.settings, self._place.paths
        engine = settings.engine
        self._server: EmbeddedServer | None = None
        if engine.kind == "transformers":
            self._server = EmbeddedServer(
                command=server_command(
                    model=folder,
                    adapters_dir=paths.adapters,
                    base_model_name=engine.base_model_name,
                    threads=settings.model.threads,
                    dtype=settings.model.dtype,
                ),
                run_dir=paths.run,
                clock=self._clock,
                log_file=paths.run / "policy-server.log",
            )
            self._server.start()
        self._controller = ReleaseController(
            upstream=Upstream(self._upstream_url, api_key=self._upstream_key()),
            route=self._route,
            base_model_name=engine.base_model_name,
            adapters_dir=paths.adapters,
            server_adapters_dir=PurePosixPath(engine.server_adapters_dir)
            if engine.server_adapters_dir
            else None,
        )

    def _upstream_key(self) -> str | None:
        if self._server is not None:
            return self._server.api_key
        return os.environ.get(self._place.settings.engine.api_key_env)

    def _upstream_url(self) -> str | None:
        return self._server.url if self._server else self._place.settings.engine.base_url

    def tick(self) -> None:
        """One look at everything. An error is said and tried again at the next tick; it ends nothing."""
        for look in (self._watch_server, self._reconcile, self._reap, self._start_if_due):
            try:
                look()
            except PrimumError as error:
                self._tell(f"{error}")
            except Exception as error:  # noqa: BLE001 - no memory, no disk: it may pass, and patients are answered
                # The type alone: a library's message may quote what it was given.
                _log.info("%s failed", look.__name__, exc_info=error)
                self._tell(f"unexpected {type(error).__name__}; it is tried again")

    def _watch_server(self) -> None:
        if self._server is not None:
            self._server.tick()

    def _reconcile(self) -> None:
        """The release row is what should be served; make it so, and write down that it is."""
        if self._server is not None and self._server.state is not ServerState.READY:
            self._released = None
            return
        release = self._place.store.releases.deployed()
        if release is None:
            return
        mark = (self._server.generation if self._server else 0, release.id)
        # A server that restarts by itself has lost its adapters, and nobody tells us.
        if self._released == mark and self._clock() < self._look_again:
            return
        outcome = self._controller.reconcile(self._place.store.releases.policy(release.policy_digest))
        if not outcome.ok:
            self._released = None
            current = self._route.current
            # While another release cannot be brought up, patients are answered by the one before it.
            self._lost = current is not None and current.policy.digest == outcome.policy_digest
            self._tell(f"release {release.id} is not served yet: {outcome.reason}")
            return
        known, self._released, self._lost = self._released == mark, mark, False
        self._look_again = self._clock() + _LOOK_EVERY_S
        if release.serving_at is None:
            self._place.store.releases.mark_serving(release.id, self._place.now())
        if not known or outcome.state is not ReleaseState.UNCHANGED:
            self._tell(f"Release {release.id} ({release.kind}) is served as {outcome.name}")

    def _reap(self) -> None:
        if self._worker is None or self._worker.ended() is None:
            return
        code = self._worker.wait()
        if code not in (0, -15) and self._worker.last_words():
            self._tell(f"the cycle's worker ended with code {code}: {self._worker.last_words()}")
        self._worker = None
        self._failures = self._failures + 1 if code else 0
        wait_s = min(600.0, 5.0 * 2.0 ** min(self._failures, 10)) if code else 0.0
        self._not_before = self._clock() + wait_s
        cycle = self._place.store.cycles.latest()
        if cycle is not None:
            self._tell(f"Cycle {cycle.id}: {cycle.state.value}. {cycle.message or ''}")
            if cycle.state is CycleState.WAITING:
                self._tell(f'To approve: primum approve {cycle.id} --reason "…" {self._arguments}'.rstrip())

    def _start_if_due(self) -> None:
        if self._worker is not None or self._route.current is None or self._clock() < self._not_before:
            return
        schedule = self._place.settings.schedule
        open_cycle = self._place.store.cycles.open_cycle()
        latest = self._place.store.cycles.latest()
        resume = open_cycle is not None and open_cycle.state is CycleState.RUNNING
        waiting = open_cycle is not None and open_cycle.state is CycleState.WAITING
        due = is_due(
            self._trigger,
            last_started=latest.updated_at
            if latest and latest.state is CycleState.HELD
            else latest.started_at
            if latest
            else None,
            born=self._born,
            first_at_once=schedule.first_at_once,
            now=self._place.now(),
        )
        if resume or (due and not waiting):
            if self._server is None:
                # What workers had loaded to measure it; none runs now.
                self._controller.sweep()
            self._tell("Resuming the unfinished cycle" if resume else "Starting a cycle")
            self._worker = Worker(self._place.arguments())
            self._watcher = threading.Thread(target=self._watch, args=(self._worker,), daemon=True)
            self._watcher.start()

    def _watch(self, worker: Worker) -> None:
        for event in worker.events():
            with contextlib.suppress(OSError):  # nowhere to say it: the worker has to be read all the same
                if event.get("event") == "stage":
                    self._say(f"  {event['stage']} ({event['index'] + 1} of {event['of']})")
                elif event.get("event") in ("warning", "error"):
                    self._say(f"  {event.get('text') or event.get('error')}")

    def _tell(self, text: str) -> None:
        """Say it once: a condition that lasts is not repeated every second."""
        if text != self._last_told:
            self._last_told = text
            with contextlib.suppress(OSError):  # standard output may be a file on a full disk
                self._say(text)

    def status(self) -> dict[str, Any]:
        return status(self._place.store, base_name=self._place.settings.model.name, arguments=self._arguments)

    def shutdown(self) -> None:
        """Requests in flight end; the worker is ended, and its cycle goes on at the next start."""
        self._say("Stopping …")
        if self._worker is not None:
            self._worker.stop()
        (self._place.paths.run / "url").unlink(missing_ok=True)
        self._web.stop()
        if self._server is not None:
            self._server.stop()
