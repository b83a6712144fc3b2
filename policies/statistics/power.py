"""What a paired, clustered comparison could have seen, and how many more prompts would settle it.

Power of the one-sample t test on cluster-level changes (non-central t); with one row a cluster it is the
paired t test's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import nctdtr
from scipy.stats import norm
from scipy.stats import t as student

from policies.errors import DataError, NotEnoughData
from policies.statistics.bootstrap import Clusters, ratio_sums, standard_error, unseen_share
from policies.statistics.inputs import finite, fraction, same_rows

_NORMAL_FROM = 20_000  # degrees of freedom above which t is normal to six digits
_MOST_CLUSTERS = 10**9


@dataclass(frozen=True)
class Precision:
    """Standard error of a mean difference and what it rests on."""

    standard_error: float
    clusters: int
    rows: int

    @property
    def deviation(self) -> float:
        """Standard deviation of one cluster's contribution."""
        return self.standard_error * math.sqrt(self.clusters)


@dataclass(frozen=True)
class Needed:
    """Size of an experiment that finds `effect` with the stated power; `more_…` counts from what there is."""

    effect: float
    clusters: int
    more_clusters: int
    more_rows: int


def precision_of(before: ArrayLike, after: ArrayLike, clusters: Clusters) -> Precision:
    """Observed precision of after − before over the same rows (n,).

    Where no cluster differs from the others, the error is that of the most clusters (95 %) that might differ
    unseen by a full point: never 0.
    """
    first, second = finite(before, "before"), finite(after, "after")
    same_rows(first, second, "paired difference")
    sums = ratio_sums(second - first, np.ones_like(first), clusters)
    if sums.clusters < 2:
        raise NotEnoughData("power: needs at least two clusters")
    error = standard_error(sums)
    if error < 1e-12:
        error = math.sqrt(unseen_share(sums.clusters, 0.05) / sums.clusters)
    return Precision(error, sums.clusters, sums.rows)


def minimum_detectable_effect(
    precision: Precision, *, alpha: float = 0.05, power: float = 0.8, sided: int = 1
) -> float:
    """Smallest true difference that a test at `alpha` finds with `power`, at this precision."""
    return _distance(precision.clusters, alpha, power, sided) * precision.standard_error


def prompts_needed(
    effect: float, precision: Precision, *, alpha: float = 0.05, power: float = 0.8, sided: int = 1
) -> Needed | None:
    """Clusters (base prompts) and rows that would show a true difference of `effect`; None if none would.

    Take the smallest difference that matters as `effect`: the observed one makes the answer a matter of luck.
    """
    if not math.isfinite(effect):
        raise DataError("effect: not finite")
    wanted = abs(effect) / precision.deviation
    if wanted * math.sqrt(_MOST_CLUSTERS) <= _distance(_MOST_CLUSTERS, alpha, power, sided):
        return None
    low, high = 2, 4
    while wanted * math.sqrt(high) < _distance(high, alpha, power, sided):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        enough = wanted * math.sqrt(middle) >= _distance(middle, alpha, power, sided)
        low, high = (low, middle) if enough else (middle, high)
    if wanted * math.sqrt(low) >= _distance(low, alpha, power, sided):
        high = low
    more = max(0, high - precision.clusters)
    return Needed(effect, high, more, math.ceil(more * precision.rows / precision.clusters))


def _distance(clusters: int, alpha: float, power: float, sided: int) -> float:
    """Non-centrality (effect in standard errors) at which the test has `power`."""
    if sided not in (1, 2):
        raise DataError(f"sided: {sided} is neither 1 nor 2")
    level, wanted, freedom = fraction(alpha, "alpha") / sided, fraction(power, "power"), clusters - 1
    if wanted <= alpha:
        raise DataError(f"power: {power} is not above alpha ({alpha})")
    if freedom > _NORMAL_FROM:
        return float(norm.isf(level) + norm.ppf(wanted))
    critical = float(student.isf(level, freedom))

    def shortfall(distance: float) -> float:
        return float(1 - nctdtr(freedom, distance, critical)) - wanted

    return float(brentq(shortfall, 0.0, critical + float(norm.ppf(wanted)) * 3 + 30, xtol=1e-10))
