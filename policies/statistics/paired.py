"""Tests of paired outcomes: McNemar exact and mid-p, their clustered forms, and an exact sign-flip test.

Rows are answers to the same prompt before and after. Rewrites of one base prompt flip together, so the
unclustered tests understate p where clusters hold more than one row: report them, decide by the clustered
ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.signal import fftconvolve
from scipy.stats import binom, chi2, norm

from policies.errors import DataError
from policies.statistics.bootstrap import Clusters
from policies.statistics.inputs import Floats, binary, cluster_codes, finite, same_rows

Alternative = Literal["two-sided", "greater", "less"]  # of `after` against `before`


@dataclass(frozen=True)
class TestResult:
    """A test's outcome. `estimate` is mean(after) − mean(before), `n` the paired rows."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    name: str
    statistic: float
    p_value: float
    estimate: float
    n: int
    detail: str


def mcnemar_exact(
    before: ArrayLike, after: ArrayLike, *, alternative: Alternative = "two-sided", mid_p: bool = False
) -> TestResult:
    """Binomial test of the discordant pairs of two 0/1 outcomes (n,); mid-p after Fagerland et al. 2013."""
    first, second = _pairs(before, after)
    up, down = int(((first == 0) & (second == 1)).sum()), int(((first == 1) & (second == 0)).sum())
    return TestResult(
        name="McNemar, mid-p" if mid_p else "McNemar, exact",
        statistic=float(min(up, down)),
        p_value=_binomial_p(up, down, alternative, mid_p),
        estimate=(up - down) / len(first),
        n=len(first),
        detail=f"{up} changed 0 to 1, {down} changed 1 to 0; rows taken as independent",
    )


def mcnemar_clustered(
    before: ArrayLike,
    after: ArrayLike,
    clusters: Clusters,
    *,
    weighting: Literal["rows", "clusters"] = "rows",
    alternative: Alternative = "two-sided",
) -> TestResult:
    """McNemar's chi-square adjusted for clusters.

    `rows`: Obuchowski 1998, every row counts the same. `clusters`: Durkalski et al. 2003, every cluster does.
    With one row a cluster the second is McNemar's uncorrected chi-square, the first that times (k − 1) / k.
    """
    first, second = _pairs(before, after)
    codes, count = cluster_codes(clusters, len(first))
    change: Floats = np.bincount(codes, weights=second - first, minlength=count).astype(np.float64)
    if weighting == "clusters":
        change = change / np.bincount(codes, minlength=count)
    square = float(change @ change)
    factor = (count - 1) / count if weighting == "rows" else 1.0
    root = float(change.sum()) / np.sqrt(square) * np.sqrt(factor) if square > 0 else 0.0
    p_value = {
        "two-sided": float(chi2.sf(root**2, 1)),
        "greater": float(norm.sf(root)),
        "less": float(norm.cdf(root)),
    }[alternative]
    return TestResult(
        name="McNemar, clustered (Obuchowski)" if weighting == "rows" else "McNemar, clustered (Durkalski)",
        statistic=float(root**2),
        p_value=p_value if square > 0 else 1.0,
        estimate=float((second - first).mean()),
        n=len(first),
        detail=f"{np.count_nonzero(change)} of {count} clusters changed on balance",
    )


def sign_flip_test(
    before: ArrayLike,
    after: ArrayLike,
    clusters: Clusters,
    *,
    unit: float = 0.5,
    alternative: Alternative = "two-sided",
) -> TestResult:
    """Exact randomisation test: under the null each cluster's change is as likely with the other sign.

    Scores (n,) are multiples of `unit` (0.5 for the Safety Score and for 0/1 outcomes). The distribution of
    the total is convolved exactly, nothing is sampled. With one 0/1 row a cluster it is McNemar's exact
    test.
    """
    first, second = finite(before, "before"), finite(after, "after")
    same_rows(first, second, "paired test")
    codes, count = cluster_codes(clusters, len(first))
    exact: Floats = np.bincount(codes, weights=second - first, minlength=count) / unit
    change = np.round(exact)
    if np.abs(exact - change).max() > 1e-6:
        raise DataError(f"unit: a cluster's change is not a multiple of {unit:g}; state the score's step")
    total = int(change.sum())
    below, above = _tails(np.abs(change).astype(np.intp), total)
    p_value = {"greater": above, "less": below, "two-sided": min(1.0, 2 * min(below, above))}[alternative]
    return TestResult(
        name="sign flips by cluster, exact",
        statistic=total * unit,
        p_value=p_value,
        estimate=float((second - first).mean()),
        n=len(first),
        detail=f"{np.count_nonzero(change)} of {count} clusters changed on balance",
    )


def _pairs(before: ArrayLike, after: ArrayLike) -> tuple[Floats, Floats]:
    first, second = binary(before, "before"), binary(after, "after")
    same_rows(first, second, "paired test")
    return first, second


def _binomial_p(up: int, down: int, alternative: Alternative, mid_p: bool) -> float:
    discordant = up + down
    if alternative == "two-sided":
        tail = float(binom.cdf(min(up, down), discordant, 0.5))
        mass = float(binom.pmf(up, discordant, 0.5))
        if up == down:  # both tails hold the observed table
            return 1.0 - (mass / 2 if mid_p else 0.0)
        return min(1.0, 2 * tail - (mass if mid_p else 0.0))
    extreme = up if alternative == "greater" else down
    half = float(binom.pmf(extreme, discordant, 0.5)) / 2 if mid_p else 0.0
    return float(binom.sf(extreme - 1, discordant, 0.5)) - half


def _tails(sizes: np.typing.NDArray[np.intp], total: int) -> tuple[float, float]:
    """P(sum of ±sizes ≤ total) and P(… ≥ total), signs fair and independent."""
    chances = np.ones(1)  # over −reach … reach in steps of one
    for size, times in zip(*np.unique(sizes[sizes > 0], return_counts=True), strict=True):
        spread = np.zeros(2 * size * times + 1)
        spread[:: 2 * size] = binom.pmf(np.arange(times + 1), times, 0.5)
        chances = np.maximum(fftconvolve(chances, spread), 0.0) if len(chances) > 1 else spread
    middle = len(chances) // 2 + total
    return min(1.0, float(chances[: middle + 1].sum())), min(1.0, float(chances[middle:].sum()))
