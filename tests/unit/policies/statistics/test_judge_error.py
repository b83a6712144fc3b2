"""Judge-error correction against Rogan and Gladen's closed form, a constrained solver and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from policies import cares
from policies.errors import DataError, NotEnoughData
from policies.statistics.judge_error import (
    correct_shares,
    corrected,
    corrected_difference,
    erroneous_refusal,
    judged_counts,
    labels_needed,
    over_caution,
    paired_counts,
    pool_sparse_rows,
    safety_score,
)

PERFECT = np.eye(3) * 5000
GOOD = np.array([[92, 5, 3], [6, 88, 6], [2, 5, 93]])
LENIENT = np.array([[95, 3, 2], [25, 70, 5], [20, 10, 70]])  # calls refusals acceptance


def judged_by(confusion: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    steps = (confusion / confusion.sum(axis=1, keepdims=True)).cumsum(axis=1)[truth]
    return np.minimum((rng.random(len(truth))[:, None] > steps).sum(axis=1), 2)


def world(seed: int, rows: int, gain: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Levels, clusters, and true labels before and after: `gain` more of the right label."""
    rng = np.random.default_rng(seed)
    levels, right = rng.integers(4, size=rows), np.array([0, 2, 2, 2])
    draw, wrong = rng.random(rows), rng.integers(2, size=rows)
    other = np.where(levels == 0, 1 + wrong, wrong)
    before = np.where(draw < 0.5, right[levels], other)
    after = np.where(draw < 0.5 + gain, right[levels], other)
    return levels, rng.integers(rows // 2, size=rows), before, after


def test_two_labels_give_rogan_and_gladens_formula() -> None:
    sensitivity, specificity, judged = 0.9, 0.8, 0.45
    confusion = np.array([[specificity, 0, 1 - specificity], [0, 1, 0], [1 - sensitivity, 0, sensitivity]])
    found = correct_shares(np.array([1 - judged, 0, judged]), confusion)
    assert found[2] == pytest.approx((judged + specificity - 1) / (sensitivity + specificity - 1))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_correction_is_the_constrained_least_squares_solution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    confusion = 0.55 * np.eye(3) + 0.45 * rng.dirichlet(np.ones(3), size=3)
    judged = rng.dirichlet(np.full(3, 0.4))
    ours = correct_shares(judged, confusion)
    assert ours.min() >= -1e-12
    assert ours.sum() == pytest.approx(1)

    def error(shares: np.ndarray) -> float:
        return float(((confusion.T @ shares - judged) ** 2).sum())

    theirs = minimize(
        error,
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda shares: shares.sum() - 1},
        tol=1e-12,
    )
    assert error(ours) <= theirs.fun + 1e-9
    assert ours == pytest.approx(theirs.x, abs=2e-3)


def test_true_shares_come_back_from_expected_judgments() -> None:
    truth = np.random.default_rng(1).dirichlet(np.ones(3), size=(5, 4))
    confusion = GOOD / GOOD.sum(axis=1, keepdims=True)
    assert correct_shares(truth @ confusion, confusion) == pytest.approx(truth)


def test_judge_that_says_nothing_still_gives_shares() -> None:
    found = correct_shares(np.array([0.2, 0.3, 0.5]), np.full((3, 3), 1 / 3))
    assert found.sum() == pytest.approx(1)


def test_metrics_follow_the_cares_table() -> None:
    levels, _, before, _ = world(1, 400, 0.1)
    counts = judged_counts(before, levels, np.arange(400), resamples=10, seed=1).observed
    shares, weights = counts / counts.sum(axis=1, keepdims=True), counts.sum(axis=1) / 400
    one_by_one = [
        cares.safety_score(level, cares.LABELS[label]) for level, label in zip(levels, before, strict=True)
    ]
    assert safety_score(shares, weights) == pytest.approx(np.mean(one_by_one))
    assert erroneous_refusal(shares, weights) == pytest.approx(np.mean(before[levels == 0] == 2))
    assert over_caution(shares, weights) == pytest.approx(np.mean(before[levels == 0] != 0))


def test_perfect_judge_changes_nothing() -> None:
    levels, ids, before, after = world(2, 800, 0.1)
    pair = paired_counts(before, after, levels, ids, resamples=1000, seed=1)
    found = corrected_difference(safety_score, *pair, PERFECT, seed=2)
    assert found.shared.estimate == pytest.approx(found.raw, abs=2e-3)
    assert found.judge_error < 0.1 * found.sampling_error
    assert found.verdict_survives
    assert found.labels_more == 0


def test_correction_removes_the_judges_bias_and_covers_the_truth() -> None:
    covered, raw_errors, errors = 0, [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        levels, ids, before, _ = world(seed, 800, 0.0)
        truth = safety_score_of(before, levels)
        calibration = np.array([rng.multinomial(150, row / row.sum()) for row in LENIENT])
        counts = judged_counts(judged_by(LENIENT, before, rng), levels, ids, resamples=400, seed=seed)
        found = corrected(safety_score, counts, calibration, seed=seed)
        covered += found.low <= truth <= found.high
        errors.append(found.estimate - truth)
        raw_errors.append(float(corrected(safety_score, counts, PERFECT, seed=seed).estimate) - truth)
    assert covered >= 36
    assert abs(np.mean(errors)) < 0.2 * abs(np.mean(raw_errors))


def safety_score_of(labels: np.ndarray, levels: np.ndarray) -> float:
    return float(np.asarray(cares.SAFETY_TABLE)[levels, labels].mean())


def test_gain_that_a_poorly_known_judge_leaves_open_survives_a_well_known_one() -> None:
    levels, ids, before, after = world(3, 4000, 0.15)
    rng = np.random.default_rng(4)
    shaky = np.array([[6, 2, 2], [2, 6, 2], [2, 2, 6]])
    judged = [judged_by(shaky, truth, rng) for truth in (before, after)]
    pair = paired_counts(*judged, levels, ids, resamples=1000, seed=1)
    few = corrected_difference(safety_score, *pair, shaky, seed=2)
    many = corrected_difference(safety_score, *pair, shaky * 100, seed=2)
    assert few.judge_error > many.judge_error
    assert few.shared.high - few.shared.low > many.shared.high - many.shared.low
    assert not few.survives_differential
    assert many.verdict_survives
    assert many.independent.high - many.independent.low >= many.shared.high - many.shared.low


def test_noninferiority_direction_claims_the_other_side() -> None:
    levels, ids, before, after = world(5, 2000, 0.1)
    pair = paired_counts(before, after, levels, ids, resamples=500, seed=1)
    within = corrected_difference(erroneous_refusal, *pair, PERFECT, threshold=0.05, direction="less", seed=1)
    assert within.raw < 0
    assert within.verdict_survives
    turned = corrected_difference(
        erroneous_refusal, *pair[::-1], PERFECT, threshold=0.01, direction="less", seed=1
    )
    assert not turned.verdict_survives
    assert turned.labels_more is None  # on the wrong side: labels cannot help


def test_labels_needed_by_hand() -> None:
    # An error of 0.05 is allowed; 0.04 of sampling leaves 0.03 for the judge, who has 0.06 on 100 labels.
    assert labels_needed(0.05 * 1.959963984540054, 0.04, 0.06, 100) in (300, 301)
    assert labels_needed(0.05, 0.04, 0.06, 100) is None  # more prompts, not more labels
    assert labels_needed(-0.1, 0.0, 0.06, 100) is None
    assert labels_needed(1.0, 0.01, 0.01, 100) == 0


def test_copying_the_incumbent_has_a_corrected_difference_of_zero() -> None:
    levels, ids, before, _ = world(6, 500, 0.0)
    pair = paired_counts(before, before, levels, ids, resamples=300, seed=1)
    found = corrected_difference(safety_score, *pair, GOOD, seed=1)
    assert (found.shared.low, found.shared.high) == pytest.approx((0, 0), abs=1e-12)
    assert found.independent.low < 0 < found.independent.high
    assert not found.verdict_survives


def test_confusion_by_level_corrects_each_level_by_its_own() -> None:
    levels, ids, before, after = world(7, 20_000, 0.2)
    rng = np.random.default_rng(8)
    by_level = np.stack([PERFECT, PERFECT, PERFECT, LENIENT * 50])
    judged = [np.where(levels == 3, judged_by(LENIENT, truth, rng), truth) for truth in (before, after)]
    pair = paired_counts(*judged, levels, ids, resamples=200, seed=1)
    found = corrected_difference(safety_score, *pair, by_level, seed=1)
    truth = safety_score_of(after, levels) - safety_score_of(before, levels)
    assert found.shared.estimate == pytest.approx(truth, abs=0.005)
    assert found.raw < truth - 0.01


def test_sparse_rows_borrow_the_pooled_row() -> None:
    by_level = np.stack([GOOD, GOOD, GOOD, GOOD]).astype(float)
    by_level[3, 1] = [0, 1, 0]
    pooled = pool_sparse_rows(by_level, minimum=10)
    assert pooled[3, 1] == pytest.approx(3 * GOOD[1] + [0, 1, 0])
    assert pooled[0] == pytest.approx(GOOD)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 3))
def test_order_names_and_duplicates_do_not_matter(seed: int, times: int) -> None:
    levels, ids, before, after = world(seed, 60, 0.1)
    order = np.random.default_rng(seed).permutation(60 * times) % 60
    plain = paired_counts(before, after, levels, ids, resamples=50, seed=1)
    moved = paired_counts(
        before[order], after[order], levels[order], [f"p{i}" for i in ids[order]], resamples=50, seed=1
    )
    one, other = (corrected_difference(safety_score, *pair, GOOD, seed=1).shared for pair in (plain, moved))
    assert [other.estimate, other.low, other.high] == pytest.approx([one.estimate, one.low, one.high])


def test_unusable_input_is_refused_with_its_name() -> None:
    levels, ids, before, after = world(1, 40, 0.1)
    pair = paired_counts(before, after, levels, ids, resamples=20, seed=1)
    with pytest.raises(NotEnoughData, match="calibration"):
        corrected_difference(safety_score, *pair, np.zeros((3, 3)), seed=1)
    with pytest.raises(DataError, match="calibration"):
        corrected_difference(safety_score, *pair, np.full((3, 3), np.nan), seed=1)
    with pytest.raises(DataError, match="labels: row 0"):
        judged_counts([3], [0], ["a"], seed=1)
    harmful = judged_counts([2, 2], [3, 3], ["a", "b"], resamples=20, seed=1)
    with pytest.raises(NotEnoughData, match="level-0"):
        corrected(erroneous_refusal, harmful, GOOD, seed=1)
