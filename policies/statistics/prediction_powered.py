"""Prediction-powered inference: a judge on many rows, people on a few, one honest mean.

PPI++ (Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453) for a mean. The judge's mean over unlabelled
rows is corrected by its mean error on the labelled ones; a tuning weight between 0 (ignore the judge) and 1
makes the result at least as precise as the human labels alone. Labelled rows must be a random sample of the
same rows: draw whole clusters. For a paired comparison pass differences (after − before) and bounds (−1, 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from policies.errors import DataError, NotEnoughData
from policies.statistics.bootstrap import Clusters, Interval, ratio_sums, standard_error, unseen_share
from policies.statistics.inputs import Codes, Floats, cluster_codes, finite, fraction, same_rows
from policies.statistics.judge_error import labels_needed


@dataclass(frozen=True)
class PredictionPowered:
    """`interval` of the human mean; `tuning` is the judge's weight, the errors are its two parts."""

    interval: Interval
    tuning: float
    label_error: float
    prediction_error: float
    labels: int

    def labels_more(self, threshold: float) -> int | None:
        """More human labels that would clear the interval of `threshold`; None if labels alone cannot."""
        distance = abs(self.interval.estimate - threshold)
        return labels_needed(
            distance, self.prediction_error, self.label_error, self.labels, level=self.interval.level
        )


def ppi_mean(
    judged_labelled: ArrayLike,
    human: ArrayLike,
    judged_unlabelled: ArrayLike,
    *,
    clusters_labelled: Clusters | None = None,
    clusters_unlabelled: Clusters | None = None,
    level: float = 0.95,
    tuning: float | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> PredictionPowered:
    """Mean of what people would say, from (n,) labelled and (N,) unlabelled scores.

    `tuning` None takes the variance-minimising weight. Where the judge never erred on the labelled rows, the
    interval is widened by the share of clusters on which it may have erred unseen (Clopper–Pearson).
    """
    judge, truth = finite(judged_labelled, "judged, labelled"), finite(human, "human")
    rest = finite(judged_unlabelled, "judged, unlabelled")
    same_rows(judge, truth, "judged and human labels")
    if len(judge) < 2 or len(rest) < 2:
        raise NotEnoughData("prediction-powered mean: needs at least two labelled and two unlabelled rows")
    near, far = _codes(clusters_labelled, len(judge)), _codes(clusters_unlabelled, len(rest))
    weight = _tuning(judge, truth, rest) if tuning is None else tuning
    if not 0.0 <= weight <= 1.0:
        raise DataError(f"tuning: {weight} is not from 0 to 1")
    rectifier = truth - weight * judge
    label_error = _error(rectifier, near)
    prediction_error = weight * _error(rest, far)
    estimate = float(weight * rest.mean() + rectifier.mean())
    error = float(np.hypot(label_error, prediction_error))
    tail = (1 - fraction(level, "level")) / 2
    reach, method = -float(ndtri(tail)) * error, "PPI++"
    hangs_on_judge = 1.0 if label_error < 1e-12 else weight if _error(truth - judge, near) < 1e-12 else 0.0
    if hangs_on_judge:
        reach += hangs_on_judge * unseen_share(len(np.unique(near)), tail) * (bounds[1] - bounds[0])
        method = "PPI++, widened: no human label varied around the judge's"
    low, high = max(bounds[0], estimate - reach), min(bounds[1], estimate + reach)
    groups = len(np.unique(near)) + len(np.unique(far))
    interval = Interval(estimate, low, high, level, groups, len(judge) + len(rest), method, error)
    return PredictionPowered(interval, weight, label_error, prediction_error, len(judge))


def _tuning(judge: Floats, truth: Floats, rest: Floats) -> float:
    """Cov(human, judge) / ((1 + n/N) Var(judge)), clipped to [0, 1]."""
    spread = float(np.concatenate([judge, rest]).var())
    if spread == 0:
        return 0.0
    covariance = float(np.mean((truth - truth.mean()) * (judge - judge.mean())))
    return float(np.clip(covariance / ((1 + len(judge) / len(rest)) * spread), 0.0, 1.0))


def _codes(clusters: Clusters | None, rows: int) -> Codes:
    return np.arange(rows) if clusters is None else cluster_codes(clusters, rows)[0]


def _error(values: Floats, codes: Codes) -> float:
    sums = ratio_sums(values, np.ones_like(values), codes)
    if sums.clusters < 2:
        raise NotEnoughData("prediction-powered mean: all rows are in one cluster")
    return standard_error(sums)
