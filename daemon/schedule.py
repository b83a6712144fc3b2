"""What is due: pure, with the clock passed in. The database row of the last cycle is the truth, no timer is."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from apscheduler.triggers.cron import CronTrigger

from policies.errors import ConfigurationError

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def cron(line: str) -> CronTrigger:
    """A five-field crontab line, in UTC. ConfigurationError where it is none.

    Numbers of weekdays become names first: the library counts from Monday, crontab from Sunday. UTC has no
    summer time, so no night is skipped or done twice.
    """
    fields = line.split()
    if len(fields) != 5:
        raise ConfigurationError(f"schedule.cron: {line!r} must have five fields, as in '0 3 * * *'")
    fields[4] = re.sub(r"(?<![/\d])\d", lambda found: _DAYS[int(found.group()) % 7], fields[4])
    try:
        return CronTrigger.from_crontab(" ".join(fields), timezone=UTC)
    except ValueError as error:
        raise ConfigurationError(f"schedule.cron: {line!r}: {error}") from error


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
    due = next_after(trigger, last_started or born)
    return due is not None and due <= now
