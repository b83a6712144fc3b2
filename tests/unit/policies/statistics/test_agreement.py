"""Agreement and calibration figures against scikit-learn, scipy and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn import metrics

from policies.cares import LABELS
from policies.errors import DataError, NotEnoughData
from policies.statistics import agreement
from policies.statistics.bootstrap import NO_VARIANCE

CODES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=3, max_size=60)


def judged(seed: int, rows: int = 300, sharpness: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=rows)
    return softmax(sharpness * (rng.normal(size=(rows, 3)) + 1.2 * np.eye(3)[truth]), axis=1), truth


@settings(max_examples=60, deadline=None)
@given(CODES)
def test_label_figures_agree_with_scikit_learn(rows: list[tuple[int, int]]) -> None:
    truth, said = (np.array(column) for column in zip(*rows, strict=True))
    confusion = agreement.confusion_matrix(truth, said)
    assert (confusion == metrics.confusion_matrix(truth, said, labels=[0, 1, 2])).all()
    assert agreement.accuracy(confusion) == pytest.approx(metrics.accuracy_score(truth, said), abs=1e-9)
    assert agreement.macro_f1(confusion) == pytest.approx(
        metrics.f1_score(truth, said, average="macro", zero_division=0), abs=1e-9
    )
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth, said, labels=[0, 1, 2], zero_division=0
    )
    ours = agreement.class_scores(confusion)
    for mine, theirs in zip(
        (ours.precision, ours.recall, ours.f1, ours.support), (precision, recall, f1, support), strict=True
    ):
        assert mine == pytest.approx(theirs, abs=1e-9)
    if len({*truth, *said}) > 1:
        kappa = metrics.cohen_kappa_score(truth, said)
        assert agreement.cohen_kappa(confusion) == pytest.approx(kappa, abs=1e-9)


def test_kappa_interval_matches_row_by_row_resampling() -> None:
    chances, truth = judged(1, rows=120)
    said, ids = chances.argmax(axis=1), np.arange(120) // 2
    ours = agreement.kappa_interval(truth, said, ids, resamples=4000, seed=1)
    rng, draws = np.random.default_rng(2), []
    for _ in range(1500):
        rows = (2 * rng.integers(60, size=60)[:, None] + [0, 1]).ravel()
        draws.append(agreement.cohen_kappa(agreement.confusion_matrix(truth[rows], said[rows])))
    assert ours.estimate == pytest.approx(metrics.cohen_kappa_score(truth, said), abs=1e-9)
    assert ours.standard_error == pytest.approx(np.std(draws), rel=0.08)
    assert [ours.low, ours.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.03)


def test_perfect_agreement_on_few_clusters_is_not_certainty() -> None:
    truth = np.tile([0, 1, 2], 10)
    found = agreement.kappa_interval(truth, truth, np.arange(30), seed=1)
    assert found.method == NO_VARIANCE
    assert (found.estimate, found.high) == (pytest.approx(1.0), 1.0)
    assert found.low == pytest.approx(1 - (1 - 0.025 ** (1 / 30)) * 1.5)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 5)), min_size=6, max_size=40))
def test_kappa_interval_ignores_order_names_and_duplicates(rows: list) -> None:
    rows = [(0, 0, 0), (1, 1, 1), (2, 1, 2), *rows]
    plain = agreement.kappa_interval(*zip(*rows, strict=True), resamples=100, seed=1)
    truth, said, ids = zip(*(rows[::-1] * 2), strict=True)
    moved = agreement.kappa_interval(truth, said, [f"c{9 - i}" for i in ids], resamples=100, seed=1)
    assert [moved.low, moved.high] == pytest.approx([plain.low, plain.high])


def test_calibration_error_agrees_with_a_plain_loop() -> None:
    chances, truth = judged(3)
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == truth
    expected = 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert agreement.expected_calibration_error(chances, truth) == pytest.approx(expected, abs=1e-12)


def test_reliability_has_one_bar_a_bin_and_all_rows() -> None:
    chances, truth = judged(4)
    table = agreement.reliability(chances, truth)
    assert table.shape == (15, 3)
    assert table[:, 0].sum() == 300
    certain = agreement.reliability([[1.0, 0, 0], [0, 1.0, 0]], [0, 0])
    assert certain[14] == pytest.approx([2, 1.0, 0.5])


def test_proper_scores_agree_with_scikit_learn() -> None:
    chances, truth = judged(5)
    assert agreement.log_loss(chances, truth) == pytest.approx(metrics.log_loss(truth, chances), abs=1e-9)
    brier = metrics.brier_score_loss(truth, chances, scale_by_half=False)
    assert agreement.brier_score(chances, truth) == pytest.approx(brier, abs=1e-9)


@pytest.mark.parametrize("sharpness", [0.5, 6.0])
def test_temperature_is_the_optimum_and_mends_confidence(sharpness: float) -> None:
    chances, truth = judged(6, rows=2000, sharpness=sharpness)
    found = agreement.fit_temperature(chances, truth)
    logits = np.log(chances)
    theirs = minimize(
        lambda slope: metrics.log_loss(truth, softmax(slope[0] * logits, axis=1)), [1.0], tol=1e-12
    )
    assert found == pytest.approx(1 / theirs.x[0], rel=1e-4)
    assert (found > 1) == (sharpness > 1.2)
    mended = agreement.apply_temperature(chances, found)
    assert mended.sum(axis=1) == pytest.approx(1)
    better = agreement.expected_calibration_error(mended, truth)
    assert better < agreement.expected_calibration_error(chances, truth)


def test_temperature_one_changes_nothing() -> None:
    chances, _ = judged(7)
    assert agreement.apply_temperature(chances, 1.0) == pytest.approx(chances)


def test_labels_have_codes_in_the_order_of_cares() -> None:
    assert agreement.codes_of(["Refuse", LABELS[0], "Caution"]).tolist() == [2, 0, 1]
    with pytest.raises(DataError, match="row 1"):
        agreement.codes_of(["Refuse", "Reject"])


def test_single_label_leaves_kappa_undefined() -> None:
    with pytest.raises(NotEnoughData, match="kappa"):
        agreement.cohen_kappa(agreement.confusion_matrix([1, 1], [1, 1]))
    with pytest.raises(NotEnoughData, match="no labelled rows"):
        agreement.accuracy(np.zeros((3, 3)))


@pytest.mark.parametrize(
    "bad", [[[0.5, 0.5, 0.5]], [[float("nan"), 0.5, 0.5]], [[-0.1, 0.6, 0.5]], [0.3, 0.7]]
)
def test_what_is_no_distribution_is_refused(bad: list) -> None:
    with pytest.raises(DataError, match="probabilities"):
        agreement.brier_score(bad, [0] * len(bad))


def test_temperature_must_be_positive() -> None:
    with pytest.raises(DataError, match="temperature"):
        agreement.apply_temperature([[0.5, 0.5]], 0.0)
