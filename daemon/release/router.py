"""Which model answers as the deployed policy. A request keeps the one it began with."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from policies.errors import StateError
from policies.records import Policy


@dataclass(frozen=True)
class Target:
    """A policy and the name under which the upstream serves it."""

    name: str
    policy: Policy


class Route:
    """The deployed target and the number of requests in flight by name. Safe to use from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._target: Target | None = None
        self._in_flight: Counter[str] = Counter()

    @property
    def current(self) -> Target | None:
        return self._target

    def switch(self, target: Target) -> Target | None:
        """Send every request that begins from now on to `target`; the target before it."""
        with self._changed:
            before, self._target = self._target, target
            return before

    def begin(self) -> Target:
        """Bind a request to the current target; each `begin` needs an `end`. StateError without a release."""
        # Reading and counting are one step: else a drain between them would unload what this request uses.
        with self._changed:
            if self._target is None:
                raise StateError("no policy is released yet; approve a cycle, or see `primum status`")
            self._in_flight[self._target.name] += 1
            return self._target

    def end(self, target: Target) -> None:
        with self._changed:
            self._in_flight[target.name] -= 1
            if self._in_flight[target.name] <= 0:
                del self._in_flight[target.name]
            self._changed.notify_all()

    def in_flight(self, name: str | None = None) -> int:
        """Requests in flight: of one name, or all of them."""
        with self._changed:
            return self._in_flight.total() if name is None else self._in_flight[name]

    def drained(self, name: str, *, timeout_s: float = 0.0) -> bool:
        """Whether no request uses `name`, waiting up to `timeout_s` seconds for it."""
        with self._changed:
            return self._changed.wait_for(lambda: self._in_flight[name] == 0, timeout=timeout_s)
