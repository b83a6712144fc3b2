"""PPI++ against its closed form, the classical mean, and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from policies.errors import DataError, NotEnoughData
from policies.statistics.prediction_powered import ppi_mean


def sample(
    seed: int, labelled: int, unlabelled: int, slip: float = 0.15
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A judge that errs on `slip` of the rows, more often towards 1; the true mean is 0.4."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(labelled + unlabelled) < 0.4).astype(float)
    judge = np.where(rng.random(len(truth)) < slip, 1.0, truth)
    return judge[:labelled], truth[:labelled], judge[labelled:]


def test_closed_form_at_full_trust() -> None:
    judge, human, rest = sample(1, 60, 500)
    found = ppi_mean(judge, human, rest, tuning=1.0)
    assert found.interval.estimate == pytest.approx(rest.mean() + (human - judge).mean())
    error = np.sqrt(rest.var(ddof=1) / 500 + (human - judge).var(ddof=1) / 60)
    assert found.interval.standard_error == pytest.approx(error)
    assert found.interval.high == pytest.approx(found.interval.estimate + stats.norm.ppf(0.975) * error)


def test_no_trust_is_the_classical_mean() -> None:
    judge, human, rest = sample(2, 60, 500)
    found = ppi_mean(judge, human, rest, tuning=0.0)
    assert found.interval.estimate == pytest.approx(human.mean())
    assert found.interval.standard_error == pytest.approx(stats.sem(human))


def test_tuning_is_near_the_best_weight_and_beats_both_extremes() -> None:
    judge, human, rest = sample(3, 200, 800)
    tuned = ppi_mean(judge, human, rest)
    errors = {
        w: ppi_mean(judge, human, rest, tuning=w).interval.standard_error for w in np.linspace(0, 1, 101)
    }
    assert tuned.tuning == pytest.approx(min(errors, key=errors.__getitem__), abs=0.06)
    assert tuned.interval.standard_error <= min(errors[0.0], errors[1.0])


def test_worthless_judge_is_ignored() -> None:
    rng = np.random.default_rng(4)
    human, judge, rest = (rng.integers(2, size=n).astype(float) for n in (4000, 4000, 8000))
    assert ppi_mean(judge, human, rest).tuning < 0.05
    assert ppi_mean(np.ones(9), human[:9], np.ones(30)).tuning == 0


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    found = [ppi_mean(*sample(seed, 80, 400)).interval for seed in range(300)]
    covered = sum(one.low <= 0.4 <= one.high for one in found)
    assert stats.binomtest(covered, 300, 0.95).pvalue > 0.001
    assert np.mean([one.estimate for one in found]) == pytest.approx(0.4, abs=0.01)


def test_copied_rows_of_one_cluster_are_one_piece_of_evidence() -> None:
    judge, human, rest = sample(5, 50, 300)
    plain = ppi_mean(judge, human, rest, tuning=0.8)
    copied = ppi_mean(
        *(np.repeat(x, 3) for x in (judge, human, rest)),
        clusters_labelled=np.repeat(np.arange(50), 3),
        clusters_unlabelled=np.repeat(np.arange(300), 3),
        tuning=0.8,
    )
    assert copied.interval.low == pytest.approx(plain.interval.low)
    assert copied.interval.high == pytest.approx(plain.interval.high)


def test_faultless_record_is_not_taken_for_a_faultless_judge() -> None:
    human = np.tile([0.0, 1.0], 10)
    found = ppi_mean(human, human, np.tile([0.0, 1.0], 5000), tuning=1.0)
    assert "widened" in found.interval.method
    assert found.interval.high - found.interval.low > 2 * (1 - 0.025 ** (1 / 20)) * 0.99


def test_a_tuned_weight_takes_no_faultless_record_for_a_faultless_judge() -> None:
    """Thirty labels with which the judge agrees; the rest it may see otherwise than people would."""
    human = np.array([1.0] * 5 + [0.0] * 25)
    rest = np.array([1.0] * 160 + [0.0] * 810)
    found = ppi_mean(human, human, rest)
    assert 0.5 < found.tuning < 1.0
    assert "widened" in found.interval.method
    whole = 1 - 0.025 ** (1 / 30)  # Clopper–Pearson for none of thirty
    assert found.interval.high - found.interval.low > 2 * found.tuning * whole * 0.8
    erring = human.copy()
    erring[0] = 0.0
    assert "widened" not in ppi_mean(human, erring, rest).interval.method


def test_labels_more_settles_the_case_when_they_are_had() -> None:
    judge, human, rest = sample(6, 60, 20_000)
    found = ppi_mean(judge, human, rest)
    threshold = found.interval.estimate - 0.04
    assert found.interval.low < threshold
    more = found.labels_more(threshold)
    assert more is not None
    error = np.hypot(found.prediction_error, found.label_error * np.sqrt(60 / (60 + more)))
    assert found.interval.estimate - 1.96 * error == pytest.approx(threshold, abs=1e-3)
    assert found.labels_more(found.interval.estimate - 1e-6) is None


def test_unusable_input_is_refused() -> None:
    with pytest.raises(DataError, match="same rows"):
        ppi_mean([0.0, 1.0], [0.0], [0.0, 1.0])
    with pytest.raises(DataError, match="tuning"):
        ppi_mean([0.0, 1.0], [0.0, 1.0], [0.0, 1.0], tuning=1.5)
    with pytest.raises(NotEnoughData, match="one cluster"):
        ppi_mean([0.0, 1.0], [1.0, 1.0], [0.0, 1.0], clusters_labelled=["a", "a"])
