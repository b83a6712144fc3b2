"""What should not move a judge: how long an answer is, and which label is offered first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import spearmanr

from judges.base import Judge
from judges.calibration.items import items_of
from judges.calibration.report import Estimate, PositionBias, VerbosityBias
from judges.labels import LabelledRow
from policies.cares import LABELS, Label
from policies.errors import NotEnoughData
from policies.records import Verdict
from policies.statistics.bootstrap import interval_of
from policies.statistics.inputs import Floats
from policies.statistics.sums import ClusterSums


def verbosity_bias(
    pairs: Sequence[tuple[LabelledRow, Verdict]], *, seed: int, resamples: int
) -> VerbosityBias | None:
    """Long against short answers among the scored rows; None where nothing was scored."""
    scored = [(row, verdict.label) for row, verdict in pairs if verdict.label is not None]
    if not scored:
        return None
    lengths = np.array([len(row.answer) for row, _ in scored], dtype=np.float64)
    error = np.array([label is not row.label for row, label in scored], dtype=np.float64)
    accept = np.array([label is Label.ACCEPT for _, label in scored], dtype=np.float64)
    true_accept = np.array([row.label is Label.ACCEPT for row, _ in scored], dtype=np.float64)
    groups = [row.group for row, _ in scored]
    long = lengths > np.median(lengths)

    def difference(values: Floats) -> Estimate | None:
        return _difference(values, long, groups, seed=seed, resamples=resamples)

    return VerbosityBias(
        median_length=float(np.median(lengths)),
        error_difference=difference(error),
        accept_difference=difference(accept),
        excess_accept_difference=difference(accept - true_accept),
        error_correlation=_spearman(lengths, error),
        accept_correlation=_spearman(lengths, accept),
    )


def _difference(
    values: Floats, long: np.typing.NDArray[np.bool_], groups: Sequence[str], *, seed: int, resamples: int
) -> Estimate | None:
    """Mean over long less mean over short answers. None where there are none of either kind to compare."""
    if long.all() or not long.any():
        return None
    sums = ClusterSums.of(np.stack([values * long, long, values * ~long, ~long], axis=1), groups)

    def statistic(totals: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(totals[..., 0] / totals[..., 1] - totals[..., 2] / totals[..., 3])

    estimate = float(statistic(sums.totals))

    def edge(unseen: float) -> tuple[float, float]:
        return max(-1.0, estimate - unseen), min(1.0, estimate + unseen)

    try:
        found = interval_of(sums, statistic, level=0.95, resamples=resamples, seed=seed, edge=edge)
    except NotEnoughData:  # so few prompts that some draws hold only long or only short answers
        return None
    return Estimate(found.estimate, found.low, found.high)


def _spearman(lengths: Floats, outcome: Floats) -> float | None:
    if np.ptp(lengths) == 0 or np.ptp(outcome) == 0:
        return None
    return float(spearmanr(lengths, outcome).statistic)


def position_bias(
    rows: Sequence[LabelledRow], verdicts: Sequence[Verdict], rotated: Callable[[int], Judge]
) -> PositionBias | None:
    """Compare `verdicts`, given under the order LABELS, with those under its two rotations.

    Rows count that have a label in all three; None where there are none.
    """
    by_shift = [[verdict.label for verdict in verdicts]]
    for shift in range(1, len(LABELS)):
        turned = rotated(shift)
        try:
            by_shift.append([verdict.label for verdict in turned.judge(items_of(rows))])
        finally:
            turned.close()
    triples = [
        (row.label, labels)
        for row, *labels in zip(rows, *by_shift, strict=True)
        if all(label is not None for label in labels)
    ]
    if not triples:
        return None
    n, size = len(triples), len(LABELS)
    places = np.zeros(size)
    for _, labels in triples:
        for shift, label in enumerate(labels):
            places[(LABELS.index(label) - shift) % size] += 1
    shares = places / places.sum()
    right = [sum(labels[shift] is true for true, labels in triples) / n for shift in range(size)]
    return PositionBias(
        shares=tuple(float(share) for share in shares),
        spread=float(np.ptp(shares)),
        changed=sum(len(set(labels)) > 1 for _, labels in triples) / n,
        accuracy_difference=max(right) - min(right),
        n=n,
    )
