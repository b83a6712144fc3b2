"""The drift sentinel's control limit: how few agreements are too few to be luck (exact binomial)."""

from __future__ import annotations

from scipy.stats import binom

from policies.errors import DataError
from policies.statistics.inputs import fraction


def lower_limit(n: int, expected_agreement: float, alpha: float = 0.001) -> int:
    """Fewest agreements among `n` that still pass: fewer have probability at most `alpha` if nothing changed.

    0 when `n` is too small for any result to be alarming. An `expected_agreement` of 1 lets no disagreement
    pass.
    """
    fraction(alpha, "alpha")
    if n < 1 or not 0.0 <= expected_agreement <= 1.0:
        raise DataError(f"control limit: n = {n} or expected agreement {expected_agreement} is out of range")
    limit = max(0, int(binom.ppf(alpha, n, expected_agreement)))
    # ppf stops at the first count whose tail reaches alpha; the tail below the limit may be alpha itself.
    while binom.cdf(limit, n, expected_agreement) <= alpha:
        limit += 1
    while limit > 0 and binom.cdf(limit - 1, n, expected_agreement) > alpha:
        limit -= 1
    return limit


def has_drifted(agreements: int, n: int, expected_agreement: float, alpha: float = 0.001) -> bool:
    """True when `agreements` of `n` sentinel pairs lie below the control limit."""
    if not 0 <= agreements <= n:
        raise DataError(f"control limit: {agreements} agreements of {n} pairs")
    return agreements < lower_limit(n, expected_agreement, alpha)
