"""What is due, with the clock passed in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest

from daemon.schedule import cron, is_due, next_after
from policies.errors import ConfigurationError

SUNDAY = datetime(2026, 3, 1, 12, tzinfo=UTC)  # a Sunday
NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def days(field: str) -> set[str]:
    """The weekdays of a fortnight on which a schedule with this fifth field fires."""
    trigger, moment, found = cron(f"0 3 * * {field}"), SUNDAY, set()
    while (due := next_after(trigger, moment)) is not None and due < SUNDAY + timedelta(days=14):
        found.add(NAMES[due.isoweekday() % 7])
        moment = due
    return found


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("*", set(NAMES)),
        ("0", {"sun"}),
        ("7", {"sun"}),
        ("1", {"mon"}),
        ("6", {"sat"}),
        ("1-5", {"mon", "tue", "wed", "thu", "fri"}),
        ("0-6", set(NAMES)),
        ("5-7", {"fri", "sat", "sun"}),
        ("0,3", {"sun", "wed"}),
        ("*/2", {"sun", "tue", "thu", "sat"}),
        ("1-5/2", {"mon", "wed", "fri"}),
        ("mon,thu", {"mon", "thu"}),
        ("FRI-SUN", {"fri", "sat", "sun"}),
    ],
)
def test_weekdays_count_from_sunday_as_in_crontab(field: str, expected: set[str]) -> None:
    assert days(field) == expected


@pytest.mark.parametrize(
    "line",
    [
        *("", "0 3 * *", "0 3 * * * *", "0 3 * * 8", "61 3 * * *", "0 3 * * x", "0 3 * * 5-1", "often"),
        *("0 3 1 * 1", "0 3 30 2 *"),  # crontab means OR by the first, the library AND; the second is never
    ],
)
def test_line_that_is_no_schedule_is_refused_by_setting(line: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^schedule\.cron"):
        cron(line)


def test_times_are_utc_whatever_the_zone_of_the_clock() -> None:
    there = timezone(timedelta(hours=9))
    due = next_after(cron("0 3 * * *"), datetime(2026, 3, 1, 11, 59, tzinfo=there))  # 02:59 UTC
    assert due == datetime(2026, 3, 1, 3, tzinfo=UTC)


def test_no_night_is_skipped_or_done_twice_when_clocks_change() -> None:
    trigger, moment, fired = cron("30 2 * * *"), datetime(2026, 3, 1, tzinfo=UTC), []
    while moment < datetime(2026, 11, 30, tzinfo=UTC):
        moment = next_after(trigger, moment) or moment
        fired.append(moment)
    assert {later - earlier for earlier, later in pairwise(fired)} == {timedelta(days=1)}


def test_next_is_strictly_later() -> None:
    at_three = datetime(2026, 3, 1, 3, tzinfo=UTC)
    assert next_after(cron("0 3 * * *"), at_three) == at_three + timedelta(days=1)


def due(
    now: datetime, *, last: datetime | None, first_at_once: bool = False, line: str = "0 3 * * *"
) -> bool:
    return is_due(cron(line), last_started=last, born=SUNDAY, first_at_once=first_at_once, now=now)


def test_first_cycle_starts_at_once_where_that_is_wanted() -> None:
    assert due(SUNDAY, last=None, first_at_once=True)
    assert not due(SUNDAY, last=None)
    assert due(SUNDAY + timedelta(hours=15), last=None)


def test_second_cycle_waits_for_its_time_even_where_the_first_did_not() -> None:
    assert not due(SUNDAY + timedelta(hours=14), last=SUNDAY, first_at_once=True)
    assert due(SUNDAY + timedelta(hours=15), last=SUNDAY, first_at_once=True)


def test_nights_that_passed_while_nothing_ran_are_made_up_for_once() -> None:
    week_later = SUNDAY + timedelta(days=7)
    assert due(week_later, last=SUNDAY)
    assert not due(week_later + timedelta(minutes=1), last=week_later)


@pytest.mark.parametrize("born", [SUNDAY, SUNDAY + timedelta(days=4000)])
def test_a_start_that_lies_ahead_of_the_clock_is_not_waited_for(born: datetime) -> None:
    """A machine that booted in 2038 and was set right since, before or after the daemon's own start."""
    far = SUNDAY + timedelta(days=4000)

    def at(hours: float) -> bool:
        now = SUNDAY + timedelta(hours=hours)
        return is_due(cron("0 3 * * *"), last_started=far, born=born, first_at_once=False, now=now)

    assert at(15)
    assert at(14) is (born > SUNDAY), "with nothing to go by the last night is made up for"
