"""What is due: pure, the clock passed in. The database row of the last cycle is the truth, no timer is."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.cron import CronTrigger

from policies.errors import ConfigurationError

_LONGEST_WAIT = timedelta(days=1)
_ANY_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAY_RANGE = re.compile(r"(\*|[a-z0-9]+(?:-[a-z0-9]+)?)(?:/([1-9]))?")


def cron(line: str) -> CronTrigger:
    """A five-field crontab line, in UTC. ConfigurationError where it is none.

    Weekdays are spelt out by name first: the library counts from Monday, crontab from Sunday. UTC has no
    summer time, so no night is skipped or done twice.
    """
    fields = line.split()
    if len(fields) != 5:
        raise ConfigurationError(f"schedule.cron: {line!r} must have five fields, as in '0 3 * * *'")
    try:
        if fields[2] != "*" and fields[4] != "*":
            raise ValueError("a day of the month and weekdays together; set one of the two to *")
        if fields[4] != "*":
            fields[4] = ",".join(_DAYS[day] for day in sorted(_weekdays(fields[4].lower())))
        trigger = CronTrigger.from_crontab(" ".join(fields), timezone=UTC)
    except ValueError as error:
        raise ConfigurationError(f"schedule.cron: {line!r}: {error}") from error
    if next_after(trigger, _ANY_DAY) is None:
        raise ConfigurationError(f"schedule.cron: {line!r} names no day that there is")
    return trigger


def _weekdays(field: str) -> set[int]:
    """Days 0 (Sunday) to 6 of a crontab's fifth field; 7 is Sunday, too. ValueError where it is none."""
    days: set[int] = set()
    for part in field.split(","):
        found = _DAY_RANGE.fullmatch(part)
        if found is None:
            raise ValueError(f"{part!r} names no weekdays")
        ends = ("0", "6") if found[1] == "*" else found[1].split("-")
        first, last = _weekday(ends[0]), _weekday(ends[-1])
        if first and last == 0:
            last = 7  # as in fri-sun
        if first > last:
            raise ValueError(f"{part!r} ends before it begins")
        days |= {day % 7 for day in range(first, last + 1, int(found[2] or 1))}
    return days


def _weekday(word: str) -> int:
    if word in _DAYS:
        return _DAYS.index(word)
    if word.isdecimal() and int(word) <= 7:
        return int(word)
    raise ValueError(f"{word!r} is no weekday; use 0 (Sunday) to 7, or sun to sat")


def next_after(trigger: CronTrigger, moment: datetime) -> datetime | None:
    """The first time of the schedule strictly after `moment`."""
    due: datetime | None = trigger.get_next_fire_time(moment, moment)
    return due


def is_due(
    trigger: CronTrigger, *, last_started: datetime | None, born: datetime, first_at_once: bool, now: datetime
) -> bool:
    """Should a cycle start now? Times that passed while nothing ran are made up for once, not one by one."""
    if last_started is None and first_at_once:
        return True
    since = last_started or born
    if since > now:  # by a clock that has been set right since; it would be waited for, maybe for years
        since = born if born <= now else now - _LONGEST_WAIT
    due = next_after(trigger, since)
    return due is not None and due <= now
