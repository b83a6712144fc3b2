from __future__ import annotations

from datetime import UTC, datetime

import pytest

from policies.engines.retries import Backoff, retry_after_s

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def test_waits_grow_within_their_bounds_and_are_repeatable() -> None:
    backoff = Backoff(base_s=1.0, cap_s=5.0, seed=3)
    waits = [backoff.wait_s("key", attempt) for attempt in range(5)]
    for wait, full in zip(waits, (1.0, 2.0, 4.0, 5.0, 5.0), strict=True):
        assert full / 2 <= wait <= full
    assert waits == [Backoff(base_s=1.0, cap_s=5.0, seed=3).wait_s("key", n) for n in range(5)]


def test_jitter_differs_between_requests() -> None:
    assert len({Backoff().wait_s(f"key {number}", 0) for number in range(20)}) == 20


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        (" 0.5 ", 0.5),
        ("Thu, 01 Jan 2026 12:00:07 GMT", 7.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("-1", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, now=NOW) == seconds
