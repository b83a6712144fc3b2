"""Calibration: figures against scikit-learn and closed forms, biases of judges that have them for sure."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, confusion_matrix, f1_score, precision_recall_fscore_support

from judges.calibration import CalibrationReport, calibrate
from judges.calibration.measure import length_bucket
from judges.labels import LabelledRow
from policies.cares import LABELS, METHODS, Label
from policies.digests import seed_from
from policies.errors import ConfigurationError, DataError, NotEnoughData
from policies.records import Prompt, Response
from policies.statistics.agreement import kappa_interval
from tests.fakes.labelling_judges import Opinion, OpinionJudge, knows

AT = datetime(2025, 3, 1, 12, tzinfo=UTC)
ROWS = [
    LabelledRow(
        prompt=f"question {number}",
        answer=f"{label.value.lower()} {number} " + "word " * (number % 9 * 12 + 1),
        label=label,
        harmful_level=number % 4,
        principle_index=number % 8,
        method=METHODS[number % 4],
    )
    for number in range(40)
    for label in LABELS
]
TRUTH = {(row.prompt, row.answer): row.label for row in ROWS}


def sometimes_wrong(prompt: Prompt, response: Response) -> Label:
    """Wrong on about a fifth of the rows, the same ones every time."""
    label = TRUTH[(prompt.text, response.text)]
    draw = seed_from(prompt.text, response.text) % 10
    return LABELS[(LABELS.index(label) + 1 + draw) % 3] if draw < 2 else label


def report_of(opinion: Opinion, rows: list[LabelledRow] = ROWS, resamples: int = 200) -> CalibrationReport:
    return calibrate(OpinionJudge(opinion), rows, seed=3, resamples=resamples, at=AT)


REPORT = report_of(sometimes_wrong)
JUDGED = [sometimes_wrong(*row.as_item()) for row in ROWS]


def test_figures_agree_with_scikit_learn() -> None:
    truth, names = [row.label.value for row in ROWS], [label.value for label in LABELS]
    judged = [label.value for label in JUDGED]
    overall = REPORT.overall
    assert overall.kappa is not None
    assert 0.6 < overall.kappa.value < 0.95
    assert overall.kappa.value == pytest.approx(cohen_kappa_score(truth, judged), abs=1e-9)
    assert overall.accuracy == pytest.approx(np.mean(np.array(truth) == np.array(judged)))
    assert overall.macro_f1 == pytest.approx(f1_score(truth, judged, average="macro"))
    assert np.array_equal(overall.confusion, confusion_matrix(truth, judged, labels=names))
    expected = np.stack(precision_recall_fscore_support(truth, judged, labels=names), axis=1)
    for name, line in zip(names, expected, strict=True):
        figures = overall.classes[name]
        assert (figures.precision, figures.recall, figures.f1, figures.support) == pytest.approx(tuple(line))


def test_kappa_interval_is_clustered_on_the_prompt() -> None:
    def codes(labels: list[Label]) -> list[int]:
        return [LABELS.index(label) for label in labels]

    interval = kappa_interval(
        codes([row.label for row in ROWS]),
        codes(JUDGED),
        [row.prompt for row in ROWS],
        resamples=200,
        seed=3,
    )
    kappa = REPORT.overall.kappa
    assert kappa is not None
    assert (kappa.low, kappa.high) == (interval.low, interval.high)
    assert kappa.low < kappa.value < kappa.high


def test_rewrites_of_one_prompt_are_one_cluster() -> None:
    """A judge that is wrong about a few base prompts is wrong about all their rewrites."""
    rewritten = [replace(row, base_prompt=f"base {number // 12}") for number, row in enumerate(ROWS)]
    kappa = report_of(sometimes_wrong, rewritten).overall.kappa
    codes = [[LABELS.index(label) for label in labels] for labels in ([row.label for row in ROWS], JUDGED)]
    clustered = kappa_interval(*codes, [row.base_prompt for row in rewritten], resamples=200, seed=3)
    assert kappa is not None
    assert (kappa.low, kappa.high) == (clustered.low, clustered.high)
    assert REPORT.overall.kappa is not None
    assert (kappa.low, kappa.high) != (REPORT.overall.kappa.low, REPORT.overall.kappa.high)


@pytest.mark.parametrize(
    ("name", "size"), [("by_level", 4), ("by_principle", 8), ("by_method", 4), ("by_length", 3)]
)
def test_slices_are_a_partition_of_the_rows(name: str, size: int) -> None:
    slices = getattr(REPORT, name)
    assert len(slices) == size
    assert sum(each.n for each in slices.values()) == len(ROWS)
    total = np.sum([each.confusion for each in slices.values()], axis=0)
    assert np.array_equal(total, REPORT.overall.confusion)


def test_slice_holds_the_figures_of_its_rows() -> None:
    pairs = [
        (row.label.value, said.value)
        for row, said in zip(ROWS, JUDGED, strict=True)
        if row.harmful_level == 2
    ]
    kappa = REPORT.by_level["2"].kappa
    assert kappa is not None
    assert kappa.value == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)), abs=1e-9)


def test_rows_without_level_or_method_are_in_no_such_slice() -> None:
    bare = [LabelledRow(row.prompt, row.answer, row.label) for row in ROWS]
    report = report_of(sometimes_wrong, bare)
    assert (report.by_level, report.by_principle, report.by_method) == ({}, {}, {})
    assert report.overall == REPORT.overall


def test_length_buckets_have_exclusive_upper_ends() -> None:
    assert [length_bucket("x" * n) for n in (0, 99, 100, 300, 1000)] == [
        "under 100",
        "under 100",
        "100 to 299",
        "300 to 999",
        "1000 and more",
    ]


def test_unscored_rows_are_counted_and_left_out_of_agreement() -> None:
    known = {key: label for key, label in TRUTH.items() if key[0] != "question 0"}
    report = report_of(knows(known))
    assert (report.n, report.unscored) == (120, 3)
    assert report.unscored_share == pytest.approx(3 / 120)
    assert report.overall.accuracy == 1.0
    assert report.by_level["0"].unscored == 3


def test_judge_that_scores_nothing_has_no_agreement() -> None:
    report = report_of(knows({}))
    assert report.unscored == report.n == 120
    assert (report.overall.accuracy, report.overall.kappa, report.verbosity) == (None, None, None)
    assert CalibrationReport.from_json(report.to_json()) == report


def test_kappa_is_undefined_where_only_one_label_occurs() -> None:
    rows = [row for row in ROWS if row.label is Label.REFUSE]
    report = report_of(lambda prompt, response: Label.REFUSE, rows)
    assert report.overall.kappa is None
    assert report.overall.accuracy == 1.0


def test_verbosity_bias_of_a_judge_that_accepts_all_long_answers() -> None:
    lengths = np.array([len(row.answer) for row in ROWS])
    middle = float(np.median(lengths))

    def impressed(prompt: Prompt, response: Response) -> Label:
        return Label.ACCEPT if len(response.text) > middle else TRUTH[(prompt.text, response.text)]

    bias = report_of(impressed).verbosity
    assert bias is not None
    is_long = lengths > middle
    accepts = np.array([row.label is Label.ACCEPT for row in ROWS])
    not_accept = 1 - accepts[is_long].mean()  # all of these are wrong, and no short one is
    assert bias.median_length == middle
    assert bias.error_difference is not None
    assert bias.error_difference.value == pytest.approx(not_accept)
    assert bias.error_difference.low > 0.3
    assert bias.excess_accept_difference is not None
    assert bias.excess_accept_difference.value == pytest.approx(not_accept)
    assert bias.accept_difference is not None
    assert bias.accept_difference.value == pytest.approx(1 - accepts[~is_long].mean())
    wrong = is_long & ~accepts
    assert bias.error_correlation == pytest.approx(spearmanr(lengths, wrong).statistic)


def test_verbosity_bias_of_a_perfect_judge_is_nil() -> None:
    bias = report_of(knows(TRUTH)).verbosity
    assert bias is not None
    assert bias.error_difference is not None
    assert bias.excess_accept_difference is not None
    assert (bias.error_difference.value, bias.excess_accept_difference.value) == (0.0, 0.0)
    assert bias.error_correlation is None


def test_verbosity_bias_needs_answers_of_two_lengths() -> None:
    rows = [LabelledRow(f"q{n}", "same length", label) for n, label in enumerate(LABELS)]
    bias = report_of(lambda prompt, response: Label.ACCEPT, rows).verbosity
    assert bias is not None
    assert (bias.error_difference, bias.accept_correlation) == (None, None)


def test_position_bias_of_a_judge_that_takes_the_first_label() -> None:
    made: list[OpinionJudge] = []

    def rotated(shift: int) -> OpinionJudge:
        made.append(OpinionJudge(lambda prompt, response: LABELS[shift]))
        return made[-1]

    base = OpinionJudge(lambda prompt, response: LABELS[0])
    position = calibrate(base, ROWS, seed=3, resamples=50, at=AT, rotated=rotated).position
    assert position is not None
    assert position.shares == (1.0, 0.0, 0.0)
    assert (position.spread, position.changed, position.n) == (1.0, 1.0, 120)
    assert position.accuracy_difference == pytest.approx(0.0)  # each label is a third of the rows
    assert [judge.closed for judge in made] == [True, True]


def test_position_bias_of_a_judge_that_heeds_no_order_is_nil() -> None:
    base = OpinionJudge(sometimes_wrong)
    position = calibrate(
        base, ROWS, seed=3, resamples=50, at=AT, rotated=lambda shift: OpinionJudge(sometimes_wrong)
    ).position
    assert position is not None
    assert position.shares == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert (position.changed, position.accuracy_difference) == (0.0, 0.0)
    assert REPORT.position is None


def test_overconfident_probabilities_are_tempered() -> None:
    def chances(prompt: Prompt, response: Response) -> dict[str, float]:
        said = sometimes_wrong(prompt, response)
        return {label.value: 0.98 if label is said else 0.01 for label in LABELS}

    report = calibrate(OpinionJudge(sometimes_wrong, chances=chances), ROWS, seed=3, resamples=50, at=AT)
    confidence, right = report.confidence, REPORT.overall.accuracy
    assert confidence is not None
    assert right is not None
    assert confidence.ece_before == pytest.approx(0.98 - right)  # one bin holds all
    assert confidence.temperature > 1
    assert confidence.ece_after < 0.01
    assert confidence.nll_after < confidence.nll_before
    # One confidence for all: the best temperature makes it the accuracy, and 0.98 against 0.01 is 98 to 1.
    assert confidence.temperature == pytest.approx(np.log(98) / np.log(2 * right / (1 - right)), rel=1e-3)
    assert sum(rows for rows, _, _ in confidence.bins_before) == confidence.n == 120
    assert CalibrationReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_judge_without_probabilities_has_no_confidence() -> None:
    assert REPORT.confidence is None


def test_report_survives_json() -> None:
    text = json.dumps(REPORT.to_json())
    assert CalibrationReport.from_json(json.loads(text)) == REPORT
    assert not any(row.prompt in text or row.answer in text for row in ROWS)


@pytest.mark.parametrize("change", [{"version": 0}, {"at": "yesterday"}, {"overall": {}}])
def test_json_that_is_no_report_is_a_data_error(change: dict[str, object]) -> None:
    with pytest.raises(DataError, match="calibrate the judge again"):
        CalibrationReport.from_json({**REPORT.to_json(), **change})


def test_same_seed_same_report_and_other_labels_other_digest() -> None:
    assert report_of(sometimes_wrong) == REPORT
    relabelled = [replace(ROWS[0], label=Label.CAUTION), *ROWS[1:]]
    assert report_of(sometimes_wrong, relabelled).labels_digest != REPORT.labels_digest


def test_calibration_without_rows_or_time_zone_is_refused() -> None:
    judge = OpinionJudge(sometimes_wrong)
    with pytest.raises(NotEnoughData, match="--labels"):
        calibrate(judge, [], seed=0, resamples=10, at=AT)
    with pytest.raises(ConfigurationError, match="time zone"):
        calibrate(judge, ROWS, seed=0, resamples=10, at=AT.replace(tzinfo=None))
