"""Does a judge agree with people? Confusion, κ with an interval, F1, calibration of its probabilities.

Labels are codes in the order of `cares.LABELS` (0 Accept, 1 Caution, 2 Refuse); probabilities have shape (n,
classes) and rows that sum to 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from policies.cares import LABELS
from policies.errors import DataError, NotEnoughData
from policies.statistics.bootstrap import Clusters, Interval, interval_of
from policies.statistics.inputs import Codes, Floats, label_codes, same_rows
from policies.statistics.sums import ClusterSums

_FLOOR = float(np.finfo(np.float64).eps)  # one wrong verdict given probability 0 must not be an infinite loss
_NIL = 1e-300  # stands for 0 where a logarithm is taken
_CERTAIN = 1e-12
_LOG_TEMPERATURES = (-4.0, 5.0)


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Per class, shape (classes,). A figure whose denominator is 0 is 0, as in scikit-learn."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Floats


def codes_of(labels: Iterable[str]) -> Codes:
    """Label values ("Accept", "Caution", "Refuse") → codes (n,). Anything else: DataError with the row."""
    index = {str(label): code for code, label in enumerate(LABELS)}
    codes = []
    for row, label in enumerate(labels):
        if str(label) not in index:
            raise DataError(f"labels: row {row} is none of {', '.join(index)}")
        codes.append(index[str(label)])
    return np.asarray(codes, dtype=np.intp)


def confusion_matrix(truth: ArrayLike, judged: ArrayLike, *, classes: int = 3) -> Floats:
    """Counts (classes, classes), [true][judged]."""
    return _cells(truth, judged, classes).sum(axis=0).reshape(classes, classes)


def accuracy(confusion: Floats) -> float:
    """Share of agreeing rows."""
    return float(np.trace(confusion) / _total(confusion))


def cohen_kappa(confusion: Floats) -> float:
    """Cohen's κ, nominal. NotEnoughData where chance agreement is 1 (a single label on both sides)."""
    _total(confusion)
    if _chance(confusion) > 1 - _CERTAIN:
        raise NotEnoughData("kappa: only one label occurs, so agreement beyond chance is undefined")
    return float(_kappa(confusion))


def kappa_interval(
    truth: ArrayLike,
    judged: ArrayLike,
    clusters: Clusters,
    *,
    classes: int = 3,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int,
) -> Interval:
    """κ with a cluster bootstrap. In resamples with a single label κ counts as 0: such data prove nothing."""
    sums = ClusterSums.of(_cells(truth, judged, classes), clusters)
    confusion = sums.totals.reshape(classes, classes)
    estimate, agreed, room = cohen_kappa(confusion), accuracy(confusion), 1 - float(_chance(confusion))

    def edge(unseen: float) -> tuple[float, float]:
        low, high = estimate - unseen * agreed / room, estimate + unseen * (1 - agreed) / room
        return max(-1.0, low), min(1.0, high)

    def statistic(totals: Floats) -> Any:
        return _kappa(totals.reshape(*totals.shape[:-1], classes, classes))

    return interval_of(sums, statistic, level=level, resamples=resamples, seed=seed, edge=edge)


def class_scores(confusion: Floats) -> ClassScores:
    """Precision, recall, F1 and support of each class."""
    _total(confusion)
    hits, support, judged = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return ClassScores(
        precision=_divide(hits, judged),
        recall=_divide(hits, support),
        f1=_divide(2 * hits, support + judged),
        support=support,
    )


def macro_f1(confusion: Floats) -> float:
    """Mean F1 over the classes that occur, as truth or as judgment."""
    occurs = (confusion.sum(axis=1) > 0) | (confusion.sum(axis=0) > 0)
    return float(class_scores(confusion).f1[occurs].mean())


def expected_calibration_error(probabilities: ArrayLike, truth: ArrayLike, *, bins: int = 15) -> float:
    """ECE of the top label: |confidence − accuracy| of equal-width bins (low, high], weighted by rows."""
    table = reliability(probabilities, truth, bins=bins)
    rows = table[:, 0]
    return float((rows @ np.abs(table[:, 1] - table[:, 2])) / rows.sum())


def reliability(probabilities: ArrayLike, truth: ArrayLike, *, bins: int = 15) -> Floats:
    """The reliability diagram's bars, (bins, 3): rows, mean confidence, accuracy; empty bins are zeros."""
    chances, codes = _probabilities(probabilities, truth)
    confidence = chances.max(axis=1)
    right = (chances.argmax(axis=1) == codes).astype(np.float64)
    which = np.clip(np.ceil(confidence * bins).astype(np.intp) - 1, 0, bins - 1)
    rows = np.bincount(which, minlength=bins).astype(np.float64)
    means = [_divide(np.bincount(which, weights=part, minlength=bins), rows) for part in (confidence, right)]
    return np.stack([rows, *means], axis=1)


def brier_score(probabilities: ArrayLike, truth: ArrayLike) -> float:
    """Mean over rows of the squared distance to the true label's one-hot vector: 0 to 2."""
    chances, codes = _probabilities(probabilities, truth)
    return float(((chances - np.eye(chances.shape[1])[codes]) ** 2).sum(axis=1).mean())


def log_loss(probabilities: ArrayLike, truth: ArrayLike) -> float:
    """Mean negative log-probability of the true label, in nats."""
    chances, codes = _probabilities(probabilities, truth)
    return float(-np.log(np.maximum(chances[np.arange(len(codes)), codes], _FLOOR)).mean())


def fit_temperature(probabilities: ArrayLike, truth: ArrayLike) -> float:
    """T that minimises the log loss of softmax(log p / T), Guo et al. 2017; above 1: over-confident."""
    chances, codes = _probabilities(probabilities, truth)

    def loss(log_temperature: float) -> float:
        logits = np.log(np.maximum(chances, _NIL)) / np.exp(log_temperature)
        return float((logsumexp(logits, axis=1) - logits[np.arange(len(codes)), codes]).mean())

    found = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-9})
    return float(np.exp(found.x))


def apply_temperature(probabilities: ArrayLike, temperature: float) -> Floats:
    """Probabilities (n, classes) sharpened (T < 1) or softened (T > 1)."""
    if not (np.isfinite(temperature) and temperature > 0):
        raise DataError(f"temperature: {temperature} is not above 0")
    logits = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _NIL)) / temperature
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def _cells(truth: ArrayLike, judged: ArrayLike, classes: int) -> Floats:
    """One row each: the one-hot cell of the flattened confusion matrix, (n, classes²)."""
    first, second = label_codes(truth, "truth", classes), label_codes(judged, "judged", classes)
    same_rows(first, second, "truth and judged")
    return np.eye(classes * classes)[first * classes + second]


def _chance(confusion: Floats) -> Any:
    total = confusion.sum(axis=(-1, -2))
    return (confusion.sum(axis=-1) * confusion.sum(axis=-2)).sum(axis=-1) / total**2


def _kappa(confusion: Floats) -> Any:
    observed = np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum(axis=(-1, -2))
    chance = _chance(confusion)
    return _divide(observed - chance, np.where(chance > 1 - _CERTAIN, 0.0, 1 - chance))


def _divide(top: Any, bottom: Any) -> Floats:
    return np.asarray(np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1), 0.0))


def _total(confusion: Floats) -> float:
    total = float(confusion.sum())
    if total == 0:
        raise NotEnoughData("agreement: no labelled rows")
    return total


def _probabilities(probabilities: ArrayLike, truth: ArrayLike) -> tuple[Floats, Codes]:
    chances = np.asarray(probabilities, dtype=np.float64)
    if chances.ndim != 2:
        raise DataError(f"probabilities: expected shape (rows, classes), found {chances.shape}")
    totals_off = np.abs(chances.sum(axis=1) - 1) > 1e-4
    wrong = ~np.isfinite(chances).all(axis=1) | totals_off | (chances < 0).any(axis=1)
    if wrong.any():
        raise DataError(f"probabilities: row {int(wrong.argmax())} is not a distribution")
    codes = label_codes(truth, "truth", chances.shape[1])
    same_rows(chances, codes, "probabilities and truth")
    return chances, codes
