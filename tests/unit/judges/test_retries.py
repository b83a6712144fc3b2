"""Waiting before asking again."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from judges.retries import LONGEST_S, Backoff, retry_after_s

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": formatdate(NOW + 7, usegmt=True)}, 7.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], wait_s: float | None) -> None:
    assert retry_after_s(headers, NOW) == (None if wait_s is None else pytest.approx(wait_s))


def test_waits_double_up_to_a_limit_and_repeat_with_the_seed() -> None:
    first, second, other = (Backoff(1.0, seed=(1, name)) for name in ("a", "a", "b"))
    waits = [first.next_s() for _ in range(12)]
    assert waits == [second.next_s() for _ in range(12)]
    assert waits != [other.next_s() for _ in range(12)]
    assert all(0 <= wait_s <= min(2.0**place, LONGEST_S) for place, wait_s in enumerate(waits))
