"""Hold a judge against labelled answers: agreement overall and by slice, biases, calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np

from judges.base import Judge
from judges.calibration.bias import position_bias, verbosity_bias
from judges.calibration.items import items_of, rows_digest
from judges.calibration.report import CalibrationReport, ClassFigures, Confidence, Estimate, Slice
from judges.labels import LabelledRow
from policies.cares import LABELS, PRINCIPLES
from policies.errors import ConfigurationError, NotEnoughData
from policies.records import Verdict
from policies.statistics import agreement
from policies.statistics.bootstrap import Interval
from policies.statistics.inputs import Floats

# Upper ends (exclusive) of the answer length buckets, in characters.
LENGTHS: tuple[tuple[str, float], ...] = (
    ("under 100", 100),
    ("100 to 299", 300),
    ("300 to 999", 1000),
    ("1000 and more", float("inf")),
)
_BINS = 15


def calibrate(
    judge: Judge,
    rows: Sequence[LabelledRow],
    *,
    seed: int,
    resamples: int,
    at: datetime,
    rotated: Callable[[int], Judge] | None = None,
) -> CalibrationReport:
    """Judge `rows` and report. Intervals are 95 %, by a bootstrap over prompts with `resamples` draws.

    `rotated(k)` is the same judge offered the labels in the order LABELS[k:] + LABELS[:k], for position
    bias; it is asked for k = 1 and 2 and closed again. None for judges that are offered no order.
    NotEnoughData where there are no rows; a judge that scores none of them gets a report without
    agreement, which no gate lets pass.
    """
    if not rows:
        raise NotEnoughData("calibration: no labelled rows; name a file with --labels")
    if at.tzinfo is None:
        raise ConfigurationError("calibration: `at` has no time zone; pass an aware datetime")
    verdicts = list(judge.judge(items_of(rows)))
    pairs = list(zip(rows, verdicts, strict=True))

    def by(key: Callable[[LabelledRow], str | None]) -> dict[str, Slice]:
        groups: dict[str, list[tuple[LabelledRow, Verdict]]] = {}
        for row, verdict in pairs:
            if (name := key(row)) is not None:
                groups.setdefault(name, []).append((row, verdict))
        return {name: _slice(groups[name], seed, resamples) for name in sorted(groups)}

    return CalibrationReport(
        judge_name=judge.name,
        judge_digest=judge.digest,
        labels_digest=rows_digest(rows),
        at=at,
        seed=seed,
        resamples=resamples,
        overall=_slice(pairs, seed, resamples),
        by_level=by(lambda row: None if row.harmful_level is None else str(row.harmful_level)),
        by_principle=by(_principle),
        by_method=by(lambda row: row.method),
        by_length=by(lambda row: length_bucket(row.answer)),
        verbosity=verbosity_bias(pairs, seed=seed, resamples=resamples),
        position=None if rotated is None else position_bias(rows, verdicts, rotated),
        confidence=_confidence(pairs),
    )


def length_bucket(answer: str) -> str:
    """The name of the answer's length bucket."""
    return next(name for name, end in LENGTHS if len(answer) < end)


def _principle(row: LabelledRow) -> str | None:
    return None if row.principle_index is None else f"{row.principle_index} {PRINCIPLES[row.principle_index]}"


def _slice(pairs: Sequence[tuple[LabelledRow, Verdict]], seed: int, resamples: int) -> Slice:
    scored = [(row, verdict.label) for row, verdict in pairs if verdict.label is not None]
    unscored = len(pairs) - len(scored)
    if not scored:
        empty = tuple((0,) * len(LABELS) for _ in LABELS)
        return Slice(len(pairs), unscored, None, None, None, {}, empty)
    truth = agreement.codes_of(row.label for row, _ in scored)
    judged = agreement.codes_of(label for _, label in scored)
    confusion = agreement.confusion_matrix(truth, judged)
    scores = agreement.class_scores(confusion)
    kappa: Estimate | None
    try:
        kappa = estimate_of(
            agreement.kappa_interval(
                truth, judged, [row.group for row, _ in scored], resamples=resamples, seed=seed
            )
        )
    except NotEnoughData:  # one label on both sides: agreement beyond chance has no meaning
        kappa = None
    return Slice(
        n=len(pairs),
        unscored=unscored,
        accuracy=agreement.accuracy(confusion),
        macro_f1=agreement.macro_f1(confusion),
        kappa=kappa,
        classes={
            label.value: ClassFigures(
                float(scores.precision[code]),
                float(scores.recall[code]),
                float(scores.f1[code]),
                int(scores.support[code]),
            )
            for code, label in enumerate(LABELS)
        },
        confusion=tuple(tuple(int(cell) for cell in line) for line in confusion),
    )


def estimate_of(interval: Interval) -> Estimate:
    return Estimate(interval.estimate, interval.low, interval.high)


def _confidence(pairs: Sequence[tuple[LabelledRow, Verdict]]) -> Confidence | None:
    """None where no verdict has probabilities."""
    known = [
        (row, verdict.probabilities) for row, verdict in pairs if verdict.label and verdict.probabilities
    ]
    if not known:
        return None
    truth = agreement.codes_of(row.label for row, _ in known)
    before = np.array([[chances.get(label.value, 0.0) for label in LABELS] for _, chances in known])
    temperature = agreement.fit_temperature(before, truth)
    after = agreement.apply_temperature(before, temperature)
    return Confidence(
        n=len(known),
        temperature=temperature,
        ece_before=agreement.expected_calibration_error(before, truth, bins=_BINS),
        ece_after=agreement.expected_calibration_error(after, truth, bins=_BINS),
        brier_before=agreement.brier_score(before, truth),
        brier_after=agreement.brier_score(after, truth),
        nll_before=agreement.log_loss(before, truth),
        nll_after=agreement.log_loss(after, truth),
        bins_before=_bars(agreement.reliability(before, truth, bins=_BINS)),
        bins_after=_bars(agreement.reliability(after, truth, bins=_BINS)),
    )


def _bars(table: Floats) -> tuple[tuple[float, float, float], ...]:
    return tuple((float(rows), float(confidence), float(right)) for rows, confidence, right in table)
