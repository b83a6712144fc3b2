"""Waiting before a server is asked again, for engines and judges alike."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from policies.engines.retries import Backoff, retry_after_s

NOW = 1_700_000_000.0


def test_waits_grow_within_their_bounds_and_are_repeatable() -> None:
    backoff = Backoff(base_s=1.0, cap_s=5.0, seed=3)
    waits = [backoff.wait_s("key", attempt) for attempt in range(5)]
    for wait, full in zip(waits, (1.0, 2.0, 4.0, 5.0, 5.0), strict=True):
        assert full / 2 <= wait <= full
    assert waits == [Backoff(base_s=1.0, cap_s=5.0, seed=3).wait_s("key", n) for n in range(5)]


def test_jitter_differs_between_requests() -> None:
    assert len({Backoff().wait_s(f"key {number}", 0) for number in range(20)}) == 20


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": formatdate(NOW + 7, usegmt=True)}, 7.0),
        ({"retry-after": formatdate(NOW + 7).replace("-0000", "")}, 7.0),
        ({"retry-after": formatdate(NOW - 7, usegmt=True)}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], wait_s: float | None) -> None:
    assert retry_after_s(headers, NOW) == (None if wait_s is None else pytest.approx(wait_s))
