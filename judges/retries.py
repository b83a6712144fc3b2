"""How long to wait before asking a server again."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from policies.digests import seed_from

LONGEST_S = 30.0


class Backoff:
    """Exponential waits with full jitter: the n-th lies between 0 and first_s · 2ⁿ, at most 30 s. Seeded."""

    def __init__(self, first_s: float, seed: tuple[int, str]) -> None:
        self._ceiling_s = first_s
        self._random = random.Random(seed_from(*seed))

    def next_s(self) -> float:
        wait_s = self._random.uniform(0.0, min(self._ceiling_s, LONGEST_S))
        self._ceiling_s *= 2
        return wait_s


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
