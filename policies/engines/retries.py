"""When to ask a server again: exponential backoff with seeded jitter, and what its Retry-After says.

One place for engines and judges, so that every client of a server is as patient as the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from policies.digests import seed_from

RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
HOPELESS = frozenset({401, 403})


@dataclass(frozen=True)
class Backoff:
    """Waiting times in seconds; `seed` makes the jitter, which keeps workers out of step, repeatable."""

    base_s: float = 0.5
    cap_s: float = 30.0
    seed: int = 0

    def wait_s(self, key: str, attempt: int) -> float:
        """Seconds to wait after attempt `attempt` (from 0) of the request `key`: half to all of
        base · 2^attempt, at most the cap."""
        full = min(self.cap_s, self.base_s * 2.0**attempt)
        share = seed_from(self.seed, key, attempt) / 2**31
        return full * (0.5 + 0.5 * share)


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """The wait that a reply's headers ask for (`retry-after-ms`, or `retry-after` in seconds or as a date),
    or None.

    `now` is the Unix time against which a date is read. Nonsense and negative waits count as none.
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name)
        if text is None:
            continue
        wait_s = _number(text, unit)
        if wait_s is None and unit == 1.0:
            wait_s = _until(text, now)
        if wait_s is not None and math.isfinite(wait_s) and wait_s >= 0:
            return wait_s
    return None


def _number(text: str, unit: float) -> float | None:
    try:
        return float(text) * unit
    except ValueError:
        return None


def _until(text: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
