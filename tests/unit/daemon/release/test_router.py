from __future__ import annotations

import threading

import pytest

from daemon.release.router import Route, Target
from policies.errors import StateError
from policies.records import Policy

OLD = Target("primum-old", Policy("b", "o" * 64))
NEW = Target("primum-new", Policy("b", "n" * 64))


def test_request_keeps_the_target_it_began_with() -> None:
    route = Route()
    assert route.switch(OLD) is None
    begun = route.begin()
    assert route.switch(NEW) == OLD
    assert (begun, route.begin(), route.current) == (OLD, NEW, NEW)
    assert (route.in_flight(OLD.name), route.in_flight(NEW.name), route.in_flight()) == (1, 1, 2)


def test_nothing_begins_before_a_release() -> None:
    with pytest.raises(StateError, match="no policy is released"):
        Route().begin()


def test_name_is_drained_when_its_last_request_ends() -> None:
    route = Route()
    route.switch(OLD)
    first, second = route.begin(), route.begin()
    route.switch(NEW)
    route.end(first)
    assert not route.drained(OLD.name)
    waiter = threading.Timer(0.02, route.end, [second])
    waiter.start()
    assert route.drained(OLD.name, timeout_s=5.0)
    waiter.join()
    assert route.drained("primum-never-seen")
