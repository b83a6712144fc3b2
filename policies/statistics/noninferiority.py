"""Is a rate (ERR, over-caution) at most a stated margin worse than before, on the same prompts?

Two upper bounds have to agree: the cluster bootstrap's, and an analytic one that stays honest when hardly
any answer changes. The analytic one is Bonett and Price's (2012) adjusted Wald interval for paired rates
carried over to clusters: two pseudo-clusters of average size are added, one all up, one all down. Tango's
(1998) score interval is there for unclustered rows and is reported, not decided by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import norm

from policies.errors import DataError
from policies.statistics.bootstrap import Clusters, paired_difference
from policies.statistics.inputs import binary, cluster_codes, fraction, same_rows


@dataclass(frozen=True)
class NonInferiority:
    """`holds` when both upper bounds of after − before, one-sided at 1 − alpha, are within the margin."""

    estimate: float
    upper: float
    bootstrap_upper: float
    analytic_upper: float
    tango_upper: float
    margin: float
    alpha: float
    p_value: float
    before_events: int
    after_events: int
    rows: int
    clusters: int
    holds: bool
    method: str


def noninferiority(
    before: ArrayLike,
    after: ArrayLike,
    clusters: Clusters,
    *,
    margin: float,
    alpha: float = 0.05,
    resamples: int = 2000,
    seed: int,
) -> NonInferiority:
    """Test mean(after) − mean(before) ≤ `margin` for 0/1 outcomes (n,) of the same rows."""
    first, second = binary(before, "before"), binary(after, "after")
    same_rows(first, second, "non-inferiority")
    fraction(alpha, "alpha")
    if not 0.0 <= margin < 1.0:
        raise DataError(f"margin: {margin} is not from 0 to below 1")
    codes, count = cluster_codes(clusters, len(first))
    # Turned round, "at most the margin worse" is a lower bound above −margin: what the bootstrap tests.
    gain = paired_difference(
        second, first, codes, level=1 - 2 * alpha, resamples=resamples, seed=seed, null=-margin
    )
    centre, error = _adjusted(second - first, codes, count)
    analytic = centre - float(ndtri(alpha)) * error
    up, down = int(((second - first) > 0).sum()), int(((second - first) < 0).sum())
    upper = max(-gain.low, analytic)
    p_value = max(gain.p_greater or 0.0, float(norm.sf((margin - centre) / error)))
    return NonInferiority(
        estimate=0.0 - gain.estimate,
        upper=upper,
        bootstrap_upper=-gain.low,
        analytic_upper=analytic,
        tango_upper=tango_interval(up, down, len(first), level=1 - 2 * alpha)[1],
        margin=margin,
        alpha=alpha,
        p_value=p_value,
        before_events=int(first.sum()),
        after_events=int(second.sum()),
        rows=len(first),
        clusters=count,
        holds=upper <= margin and p_value <= alpha,
        method=f"larger upper bound of: {gain.method}; clustered Bonett-Price",
    )


def bonett_price_interval(
    before: ArrayLike, after: ArrayLike, clusters: Clusters, *, level: float = 0.95
) -> tuple[float, float]:
    """Adjusted Wald interval of after − before, clustered 0/1 rows; with one row each, Bonett and Price's."""
    first, second = binary(before, "before"), binary(after, "after")
    same_rows(first, second, "paired difference")
    centre, error = _adjusted(second - first, *cluster_codes(clusters, len(first)))
    reach = float(ndtri((1 + fraction(level, "level")) / 2)) * error
    return max(-1.0, centre - reach), min(1.0, centre + reach)


def tango_interval(up: int, down: int, rows: int, *, level: float = 0.95) -> tuple[float, float]:
    """Tango's score interval of (up − down) / rows; `up`, `down` are discordant pairs of independent rows."""
    if min(up, down) < 0 or rows < 1 or up + down > rows:
        raise DataError(f"tango interval: {up} + {down} discordant pairs do not fit into {rows} rows")
    reach = float(ndtri((1 + fraction(level, "level")) / 2))
    estimate, edge = (up - down) / rows, 1 - 1e-12

    def excess(delta: float) -> float:
        return _tango_score(delta, up, down, rows) - reach

    def shortfall(delta: float) -> float:
        return _tango_score(delta, up, down, rows) + reach

    low = -1.0 if estimate <= -edge else brentq(excess, -edge, estimate, xtol=1e-12)
    high = 1.0 if estimate >= edge else brentq(shortfall, estimate, edge, xtol=1e-12)
    return float(low), float(high)


def _tango_score(delta: float, up: int, down: int, rows: int) -> float:
    """Score statistic at difference `delta`, with the restricted maximum-likelihood share of `down` pairs."""
    slope = -up - down + (2 * rows - up + down) * delta
    root = np.sqrt(slope**2 + 8 * rows * down * delta * (1 - delta))
    share = max(0.0, (root - slope) / (4 * rows))
    variance = rows * (2 * share + delta * (1 - delta))
    if variance <= 0:
        return 0.0 if up - down == rows * delta else float(np.inf * np.sign(up - down - rows * delta))
    return float((up - down - rows * delta) / np.sqrt(variance))


def _adjusted(
    change: np.typing.NDArray[np.float64], codes: np.typing.NDArray[np.intp], count: int
) -> tuple[float, float]:
    """Centre and standard error after adding one all-up and one all-down cluster of average size."""
    sums = np.bincount(codes, weights=change, minlength=count)
    sizes = np.bincount(codes, minlength=count).astype(np.float64)
    average = len(change) / count
    total = len(change) + 2 * average
    centre = float(sums.sum()) / total
    residuals = np.concatenate([sums - centre * sizes, average * (np.array([1.0, -1.0]) - centre)])
    return centre, float(np.sqrt(residuals @ residuals)) / total
