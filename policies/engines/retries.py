"""When to ask a server again: exponential backoff with seeded jitter, and what Retry-After says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
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
        """Seconds to wait after attempt `attempt` of the request `key`: half to all of base · 2^attempt."""
        full = min(self.cap_s, self.base_s * 2.0**attempt)
        share = seed_from(self.seed, key, attempt) / 2**31
        return full * (0.5 + 0.5 * share)


def retry_after_s(value: str | None, *, now: datetime) -> float | None:
    """Seconds a Retry-After header asks for, given as a number or an HTTP date; None if unusable."""
    if value is None:
        return None
    text = value.strip()
    if text.replace(".", "", 1).isascii() and text.replace(".", "", 1).isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())
