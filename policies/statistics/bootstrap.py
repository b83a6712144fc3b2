"""Intervals for means, ratios and paired differences of clustered rows.

The bootstrap draws whole clusters (`base_prompt`), because rewrites of one question answer alike. Intervals
are BCa (Efron 1987): bias from the draws' median, acceleration from the jackknife over clusters; with
Hesterberg's (2015) widening by Student's t, without which few clusters reject a true null too often. A
p-value is the larger of the bootstrap's and the sandwich's, for the same reason. Where clusters do not
differ at all a bootstrap would claim certainty; there the interval is a Clopper–Pearson bound on the share
of clusters that may differ unseen, and `method` says so. `paired.sign_flip_test` is the exact companion.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import t as student

from policies.errors import DataError, NotEnoughData
from policies.statistics.inputs import Floats, finite, fraction, same_rows
from policies.statistics.sums import ClusterSums

Clusters = Iterable[Hashable] | NDArray[Any]
Statistic = Callable[[Floats], Any]  # totals (…, m) → figures (…)
Edge = Callable[[float], tuple[float, float]]  # share of clusters that may differ unseen → low, high

BCA = "cluster bootstrap, BCa, widened by Student t"
NO_VARIANCE = "clusters do not differ: Clopper-Pearson bound on the share of clusters that may differ unseen"
_TINY = 1e-10


@dataclass(frozen=True)
class Interval:
    """A figure and its two-sided interval. `p_greater`: one-sided p-value of "greater than the null"."""

    estimate: float
    low: float
    high: float
    level: float
    clusters: int
    rows: int
    method: str
    standard_error: float
    p_greater: float | None = None


def mean_interval(
    values: ArrayLike,
    clusters: Clusters,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int,
    bounds: tuple[float, float] = (0.0, 1.0),
    null: float | None = None,
) -> Interval:
    """Mean of `values` (n,) that lie within `bounds`; one cluster id a row."""
    numbers = finite(values, "values")
    return ratio_interval(
        numbers,
        np.ones_like(numbers),
        clusters,
        level=level,
        resamples=resamples,
        seed=seed,
        bounds=bounds,
        null=null,
    )


def paired_difference(
    before: ArrayLike,
    after: ArrayLike,
    clusters: Clusters,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int,
    bounds: tuple[float, float] = (-1.0, 1.0),
    null: float = 0.0,
) -> Interval:
    """Mean of `after − before` over the same rows (n,), with the p-value for a difference above `null`."""
    first, second = finite(before, "before"), finite(after, "after")
    same_rows(first, second, "paired difference")
    return mean_interval(
        second - first, clusters, level=level, resamples=resamples, seed=seed, bounds=bounds, null=null
    )


def ratio_interval(
    numerator: ArrayLike,
    denominator: ArrayLike,
    clusters: Clusters,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int,
    bounds: tuple[float, float] = (0.0, 1.0),
    null: float | None = None,
) -> Interval:
    """Sum of `numerator` over sum of `denominator` (both (n,), denominator ≥ 0), as ERR is over level-0 rows.

    Rows with a zero denominator are outside the domain: they and clusters made only of them are left out.
    """
    sums = ratio_sums(numerator, denominator, clusters)
    estimate = float(ratio(sums.totals))
    low, high = bounds
    if not low <= estimate <= high:
        raise DataError(
            f"bounds: the mean {estimate:g} lies outside [{low:g}, {high:g}]; state the score's range"
        )

    def edge(unseen: float) -> tuple[float, float]:
        return estimate - unseen * (estimate - low), estimate + unseen * (high - estimate)

    found = interval_of(sums, ratio, level=level, resamples=resamples, seed=seed, edge=edge, null=null)
    if null is None or found.method == NO_VARIANCE:
        return found
    sandwich = float(student.sf((estimate - null) / standard_error(sums), sums.clusters - 1))
    return replace(found, p_greater=max(found.p_greater or 0.0, sandwich))


def ratio_sums(numerator: ArrayLike, denominator: ArrayLike, clusters: Clusters) -> ClusterSums:
    """Cluster sums with columns (numerator, denominator), rows outside the domain left out."""
    top, bottom = finite(numerator, "numerator"), finite(denominator, "denominator")
    same_rows(top, bottom, "numerator and denominator")
    if (bottom < 0).any() or ((bottom == 0) & (top != 0)).any():
        raise DataError("denominator: negative, or zero where the numerator is not")
    inside = bottom > 0
    if not inside.any():
        raise NotEnoughData("denominator: zero in every row, so there is nothing to estimate")
    columns = np.stack([top, bottom], axis=1)
    if inside.all():
        return ClusterSums.of(columns, clusters)
    ids = clusters if isinstance(clusters, np.ndarray) else _as_ids(clusters)
    return ClusterSums.of(columns[inside], ids[inside])


def ratio(totals: Floats) -> Any:
    """Totals (…, 2) → numerator / denominator (…)."""
    return totals[..., 0] / totals[..., 1]


def interval_of(
    sums: ClusterSums,
    statistic: Statistic,
    *,
    level: float,
    resamples: int,
    seed: int,
    edge: Edge,
    null: float | None = None,
) -> Interval:
    """BCa interval of a smooth function of column totals; `edge` serves where clusters do not differ."""
    tail = (1 - fraction(level, "level")) / 2
    estimate = float(statistic(sums.totals))
    left_out = np.asarray(statistic(sums.without_one)) if sums.clusters > 1 else np.array([estimate])
    if np.ptp(left_out) < _TINY:
        return _without_variance(sums, estimate, level, edge, null)
    draws = np.asarray(statistic(sums.draws(resamples, seed)))
    if not np.isfinite(draws).all():
        raise NotEnoughData("bootstrap: the figure is undefined in some resamples; too few rows of a class")
    bias, acceleration = _bias(draws, estimate), _acceleration(left_out, sums.multiplicity)
    reach = _widening(sums.clusters) * float(student.isf(tail, sums.clusters - 1))
    shift = bias + np.array([-reach, reach])
    low, high = np.quantile(draws, ndtr(bias + shift / np.maximum(1 - acceleration * shift, _TINY)))
    p_value = None if null is None else _p_greater(draws, null, bias, acceleration, sums.clusters)
    error = float(draws.std(ddof=1)) if resamples > 1 else float("nan")
    return Interval(estimate, float(low), float(high), level, sums.clusters, sums.rows, BCA, error, p_value)


def unseen_share(clusters: int, tail: float) -> float:
    """Clopper–Pearson upper bound, at one-sided level 1 − `tail`, on a share that was seen in no cluster."""
    return float(1 - tail ** (1 / clusters))


def cluster_robust_interval(
    values: ArrayLike,
    clusters: Clusters,
    *,
    level: float = 0.95,
    denominator: ArrayLike | None = None,
    null: float | None = None,
) -> Interval:
    """Analytic CR1 sandwich interval of a mean or ratio, Student t with clusters − 1: checks the bootstrap.

    Equals statsmodels' OLS on a constant with `cov_type="cluster"`, `use_t=True`. No bound where all clusters
    agree: then the interval has no width and is not to be used alone.
    """
    numbers = finite(values, "values")
    sums = ratio_sums(numbers, np.ones_like(numbers) if denominator is None else denominator, clusters)
    if sums.clusters < 2:
        raise NotEnoughData("cluster-robust interval: needs at least two clusters")
    estimate, error = float(ratio(sums.totals)), standard_error(sums)
    reach = error * student.ppf((1 + fraction(level, "level")) / 2, sums.clusters - 1)
    p_value = None
    if null is not None:
        distance = (estimate - null) / error if error > 0 else np.inf * np.sign(estimate - null)
        p_value = 1.0 if np.isnan(distance) else float(student.sf(distance, sums.clusters - 1))
    method = "cluster-robust (CR1), Student t"
    return Interval(
        estimate, estimate - reach, estimate + reach, level, sums.clusters, sums.rows, method, error, p_value
    )


def standard_error(sums: ClusterSums) -> float:
    """CR1 standard error of the ratio of columns 0 and 1."""
    residuals = sums.kinds[:, 0] - ratio(sums.totals) * sums.kinds[:, 1]
    spread = float(sums.multiplicity @ residuals**2) * sums.clusters / (sums.clusters - 1)
    return float(np.sqrt(spread) / sums.totals[1])


def _without_variance(
    sums: ClusterSums, estimate: float, level: float, edge: Edge, null: float | None
) -> Interval:
    low, high = edge(unseen_share(sums.clusters, (1 - level) / 2))
    p_value = None
    if null is not None:
        # The level at which the lower bound meets the null: edge is linear in the unseen share.
        fall = estimate - edge(1.0)[0]
        p_value = 1.0
        if estimate > null:
            p_value = max(0.0, 1 - (estimate - null) / fall) ** sums.clusters if fall > 0 else 0.0
    return Interval(estimate, low, high, level, sums.clusters, sums.rows, NO_VARIANCE, 0.0, p_value)


def _share_below(draws: Floats, point: float) -> float:
    # Scores are discrete, so ties are common: half of them count. The clip keeps the normal score finite.
    slack = _TINY * (1 + abs(point))
    below = np.count_nonzero(draws < point - slack) + np.count_nonzero(draws <= point + slack)
    return float(np.clip(below / (2 * len(draws)), 0.5 / len(draws), 1 - 0.5 / len(draws)))


def _bias(draws: Floats, estimate: float) -> float:
    return float(ndtri(_share_below(draws, estimate)))


def _acceleration(left_out: Floats, multiplicity: NDArray[np.intp]) -> float:
    deviations = np.average(left_out, weights=multiplicity) - left_out
    square = float(multiplicity @ deviations**2)
    return float(multiplicity @ deviations**3) / (6 * square**1.5)


def _widening(clusters: int) -> float:
    """The bootstrap's spread is that of a divisor k where the unbiased one has k − 1."""
    return float(np.sqrt(clusters / (clusters - 1)))


def _p_greater(draws: Floats, null: float, bias: float, acceleration: float, clusters: int) -> float:
    """The one-sided level at which the BCa lower bound meets `null`; never below 1 / (resamples + 1)."""
    step = float(ndtri(_share_below(draws, null))) - bias
    scale = 1 + acceleration * step
    beyond = 0.0 if step < 0 else 1.0  # where the bound cannot reach, at any level
    reach = (step / scale - bias) / _widening(clusters) if scale > _TINY else 0.0
    p_value = float(student.cdf(reach, clusters - 1)) if scale > _TINY else beyond
    return max(p_value, 1 / (len(draws) + 1))


def _as_ids(clusters: Iterable[Hashable]) -> NDArray[Any]:
    names = list(clusters)
    ids = np.empty(len(names), dtype=object)
    ids[:] = names
    return ids
