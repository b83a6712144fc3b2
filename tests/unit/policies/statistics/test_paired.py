"""Paired tests against scipy, statsmodels, published examples and brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from policies.errors import DataError
from policies.statistics.paired import mcnemar_clustered, mcnemar_exact, sign_flip_test


def pairs(up: int, down: int, same: int) -> tuple[np.ndarray, np.ndarray]:
    before = np.array([0] * up + [1] * down + [1, 0] * (same // 2), dtype=float)
    after = np.array([1] * up + [0] * down + [1, 0] * (same // 2), dtype=float)
    return before, after


@pytest.mark.parametrize(("up", "down"), [(7, 1), (3, 12), (5, 5), (0, 0), (0, 6)])
def test_exact_mcnemar_agrees_with_statsmodels_and_scipy(up: int, down: int) -> None:
    before, after = pairs(up, down, 10)
    ours = mcnemar_exact(before, after)
    assert ours.p_value == pytest.approx(mcnemar([[5, up], [down, 5]], exact=True).pvalue, abs=1e-12)
    if up + down:
        greater = mcnemar_exact(before, after, alternative="greater").p_value
        assert greater == pytest.approx(
            stats.binomtest(up, up + down, alternative="greater").pvalue, abs=1e-12
        )
        less = mcnemar_exact(before, after, alternative="less").p_value
        assert less == pytest.approx(stats.binomtest(up, up + down, alternative="less").pvalue, abs=1e-12)
    assert ours.estimate == pytest.approx((up - down) / ours.n)


def test_mid_p_is_that_of_fagerlands_airway_example() -> None:
    before, after = pairs(1, 7, 12)
    assert mcnemar_exact(before, after, mid_p=True).p_value == pytest.approx(0.0391, abs=5e-5)
    assert mcnemar_exact(before, after).p_value == pytest.approx(0.0703, abs=5e-5)


def test_mid_p_of_balanced_changes_follows_fagerland() -> None:
    expected = 1 - stats.binom.pmf(4, 8, 0.5) / 2
    assert mcnemar_exact(*pairs(4, 4, 2), mid_p=True).p_value == pytest.approx(expected)


def test_clustered_statistics_reduce_to_mcnemar_without_clusters() -> None:
    before, after = pairs(14, 5, 20)
    ids = np.arange(len(before))
    plain = mcnemar([[10, 14], [5, 10]], exact=False, correction=False)
    by_cluster = mcnemar_clustered(before, after, ids, weighting="clusters")
    by_row = mcnemar_clustered(before, after, ids)
    assert by_cluster.statistic == pytest.approx(plain.statistic, abs=1e-12)
    assert by_cluster.p_value == pytest.approx(plain.pvalue, abs=1e-12)
    assert by_row.statistic == pytest.approx(plain.statistic * (len(ids) - 1) / len(ids), abs=1e-12)
    one_sided = mcnemar_clustered(before, after, ids, alternative="greater").p_value
    assert one_sided == pytest.approx(by_row.p_value / 2)


def test_clustered_statistics_by_hand() -> None:
    before, after = np.array([0, 0, 0, 1, 0, 1.0]), np.array([1, 1, 0, 0, 1, 1.0])
    ids = ["a", "a", "a", "b", "c", "c"]  # changes +2, −1, +1 in clusters of 3, 1, 2
    assert mcnemar_clustered(before, after, ids).statistic == pytest.approx(2 / 3 * 4 / 6)
    shares = np.array([2 / 3, -1, 1 / 2])
    expected = shares.sum() ** 2 / (shares**2).sum()
    assert mcnemar_clustered(before, after, ids, weighting="clusters").statistic == pytest.approx(expected)


def test_rewrites_that_flip_together_do_not_count_as_evidence() -> None:
    before, after = np.zeros(40), np.concatenate([np.ones(8), np.zeros(32)])
    ids = np.repeat(np.arange(5), 8)  # eight rewrites of one prompt changed, nothing else
    assert mcnemar_exact(before, after).p_value < 0.01
    assert mcnemar_clustered(before, after, ids).p_value > 0.3
    assert sign_flip_test(before, after, ids).p_value == 1.0


def test_sign_flips_are_exact_mcnemar_without_clusters() -> None:
    before, after = pairs(11, 3, 6)
    ids = np.arange(len(before))
    for alternative in ("two-sided", "greater", "less"):
        ours = sign_flip_test(before, after, ids, alternative=alternative).p_value
        assert ours == pytest.approx(mcnemar_exact(before, after, alternative=alternative).p_value, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), st.integers(0, 6)), min_size=1, max_size=16
    )
)
def test_sign_flips_agree_with_enumeration(rows: list) -> None:
    change, ids = (np.array(column) for column in zip(*rows, strict=True))
    before, after = np.where(change < 0, -change, 0.0), np.where(change > 0, change, 0.0)
    sums = np.array([change[ids == name].sum() for name in np.unique(ids)])
    totals = np.array([np.dot(signs, np.abs(sums)) for signs in product([-1, 1], repeat=len(sums))])
    ours = sign_flip_test(before, after, ids, alternative="greater").p_value
    assert ours == pytest.approx(np.mean(totals >= sums.sum() - 1e-9), abs=1e-12)


def test_sign_flips_of_many_rows_approach_the_normal() -> None:
    rng = np.random.default_rng(1)
    before, after = rng.choice([0.0, 0.5, 1.0], 20_000), rng.choice([0.0, 0.5, 1.0], 20_000)
    ids = rng.integers(8000, size=20_000)
    change = np.bincount(ids, weights=after - before)
    expected = stats.norm.sf((change.sum() - 0.5) / np.sqrt(change @ change))
    ours = sign_flip_test(before, after, ids, alternative="greater").p_value
    assert ours == pytest.approx(expected, abs=0.003)


def test_outcomes_that_are_not_binary_or_off_the_scale_are_refused() -> None:
    with pytest.raises(DataError, match="neither 0 nor 1"):
        mcnemar_exact([0.5], [1.0])
    with pytest.raises(DataError, match="multiple"):
        sign_flip_test([0.0, 0.0], [0.3, 1.0], [1, 2])
    with pytest.raises(DataError, match="not finite"):
        mcnemar_clustered([float("nan")], [1.0], [1])
