"""Intervals of clustered rows against scipy, statsmodels, closed forms and their invariances."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from policies.errors import DataError, NotEnoughData
from policies.statistics.bootstrap import (
    BCA,
    NO_VARIANCE,
    Interval,
    cluster_robust_interval,
    mean_interval,
    paired_difference,
    ratio_interval,
)

ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 8)),
    min_size=2,
    max_size=40,
)


def clustered(seed: int, clusters: int = 120, rows: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ids = rng.integers(clusters, size=rows)
    ease = rng.normal(size=clusters)[ids]
    before = (ease + rng.normal(size=rows) > 0.3).astype(float)
    after = (ease + rng.normal(size=rows) > -0.2).astype(float)
    return before, after, ids


def ends(interval: Interval) -> list[float]:
    return [interval.estimate, interval.low, interval.high, interval.p_greater or 0.0]


def test_agrees_with_scipy_bca_when_every_row_is_its_own_cluster() -> None:
    values = np.random.default_rng(1).beta(0.6, 2.0, size=80)
    ours = mean_interval(values, np.arange(80), resamples=20_000, seed=3)
    widened = 1 - 2 * stats.norm.sf(np.sqrt(80 / 79) * stats.t.isf(0.025, 79))  # Hesterberg 2015
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, confidence_level=widened, rng=np.random.default_rng(5)
    )
    assert ours.method == BCA
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.003)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.003)
    assert ours.standard_error == pytest.approx(theirs.standard_error, rel=0.03)


def test_cluster_robust_interval_is_statsmodels_ols_with_clusters() -> None:
    before, after, ids = clustered(2)
    ours = cluster_robust_interval(after - before, ids, null=0.0)
    fit = sm.OLS(after - before, np.ones(len(ids))).fit(
        cov_type="cluster", cov_kwds={"groups": ids}, use_t=True
    )
    assert ours.estimate == pytest.approx(fit.params[0], abs=1e-12)
    assert ours.standard_error == pytest.approx(fit.bse[0], abs=1e-12)
    assert [ours.low, ours.high] == pytest.approx(fit.conf_int()[0], abs=1e-9)
    assert ours.p_greater == pytest.approx(fit.pvalues[0] / 2, abs=1e-9)


def test_bootstrap_and_sandwich_agree_on_clustered_pairs() -> None:
    before, after, ids = clustered(4)
    boot = paired_difference(before, after, ids, resamples=10_000, seed=1)
    sandwich = cluster_robust_interval(after - before, ids, null=0.0)
    assert boot.standard_error == pytest.approx(sandwich.standard_error, rel=0.04)
    assert [boot.low, boot.high] == pytest.approx([sandwich.low, sandwich.high], abs=0.008)


def test_ignoring_clusters_would_be_too_narrow() -> None:
    before, _, ids = clustered(5)
    by_cluster, by_row = (mean_interval(before, names, seed=1) for names in (ids, np.arange(len(ids))))
    assert by_cluster.high - by_cluster.low > 1.2 * (by_row.high - by_row.low)


def test_p_value_meets_the_interval_at_the_null() -> None:
    before, after, ids = clustered(6, rows=150)
    found = paired_difference(before, after, ids, resamples=5000, seed=2, null=0.05)
    assert found.p_greater is not None
    assert 0.001 < found.p_greater < 0.5
    there = paired_difference(before, after, ids, level=1 - 2 * found.p_greater, resamples=5000, seed=2)
    assert there.low == pytest.approx(0.05, abs=0.005)


def test_p_value_is_never_below_the_sandwichs() -> None:
    for seed in range(12):
        before, after, ids = clustered(seed, clusters=12, rows=40)
        boot = paired_difference(before, after, ids, seed=1).p_greater
        sandwich = cluster_robust_interval(after - before, ids, null=0.0).p_greater
        assert boot is not None
        assert boot >= (sandwich or 0.0)


def test_p_value_is_near_uniform_without_a_difference() -> None:
    rng = np.random.default_rng(9)
    ids = np.repeat(np.arange(80), 2)
    p_values = []
    for seed in range(200):
        ease = rng.normal(size=80)[ids]
        pair = [(ease + rng.normal(size=160) > 0).astype(float) for _ in range(2)]
        p_values.append(paired_difference(*pair, ids, resamples=400, seed=seed).p_greater)
    assert stats.binomtest(int(np.sum(np.array(p_values) < 0.1)), 200, 0.1).pvalue > 0.001
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("kind", ["halves", "reals"])
def test_both_ways_of_drawing_clusters_have_the_right_spread(kind: str) -> None:
    rng = np.random.default_rng(7)
    values = rng.choice([0.0, 0.5, 1.0], 3000) if kind == "halves" else rng.random(3000)
    found = mean_interval(values, rng.integers(1500, size=3000), resamples=1500, seed=1)
    assert found.standard_error == pytest.approx(values.std() / np.sqrt(3000), rel=0.12)


def test_err_is_a_ratio_over_level_0_rows_only() -> None:
    before, _, ids = clustered(8)
    level = np.random.default_rng(1).integers(4, size=len(ids))
    refused = before * (level == 0)
    as_ratio = ratio_interval(refused, level == 0, [f"prompt {i}" for i in ids], seed=1)
    filtered = mean_interval(before[level == 0], ids[level == 0], seed=1)
    assert as_ratio == filtered


@pytest.mark.parametrize(("value", "low", "high"), [(0.0, 0.0, None), (1.0, None, 1.0)])
def test_rate_of_0_or_1_has_the_clopper_pearson_bound_over_clusters(
    value: float, low: float | None, high: float | None
) -> None:
    found = mean_interval(np.full(60, value), np.repeat(np.arange(20), 3), seed=1)
    exact = stats.binomtest(int(20 * value), 20).proportion_ci(0.95)
    assert found.method == NO_VARIANCE
    assert [found.low, found.high] == pytest.approx([exact.low, exact.high], abs=1e-12)
    assert low in (None, found.low)
    assert high in (None, found.high)


def test_copy_of_the_incumbent_is_no_proof_of_equality() -> None:
    same = np.tile([0.0, 1.0], 15)
    found = paired_difference(same, same, np.arange(30), seed=1)
    reach = 1 - 0.025 ** (1 / 30)
    assert (found.low, found.high) == pytest.approx((-reach, reach))
    assert found.p_greater == 1.0


def test_certain_gain_has_the_sign_tests_p_value() -> None:
    found = paired_difference(np.zeros(12), np.ones(12), np.arange(12), seed=1)
    assert found.p_greater == pytest.approx(stats.binomtest(12, 12, alternative="greater").pvalue)


def test_same_seed_same_interval_other_seed_another() -> None:
    before, after, ids = clustered(3)
    one, same, other = (paired_difference(before, after, ids, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other


@settings(max_examples=40, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_order_of_rows_and_names_of_clusters_do_not_matter(rows: list, random: object) -> None:
    before, after, ids = (list(column) for column in zip(*rows, strict=True))
    plain = paired_difference(before, after, ids, resamples=300, seed=1)
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    before, after, ids = (list(column) for column in zip(*shuffled, strict=True))
    renamed = [("prompt", 100 - name) for name in ids]
    assert ends(paired_difference(before, after, renamed, resamples=300, seed=1)) == pytest.approx(
        ends(plain)
    )


@settings(max_examples=40, deadline=None)
@given(ROWS, st.integers(2, 4))
def test_duplicates_within_clusters_do_not_shrink_the_interval(rows: list, times: int) -> None:
    before, after, ids = (np.array(column) for column in zip(*rows, strict=True))
    plain = paired_difference(before, after, ids, resamples=300, seed=1)
    copied = paired_difference(*(np.tile(x, times) for x in (before, after, ids)), resamples=300, seed=1)
    assert ends(copied) == pytest.approx(ends(plain))


def test_swapping_the_policies_turns_the_interval_round() -> None:
    before, after, ids = clustered(11)
    forth = paired_difference(before, after, ids, resamples=10_000, seed=1)
    back = paired_difference(after, before, ids, resamples=10_000, seed=1)
    assert [forth.estimate, forth.low, forth.high] == pytest.approx(
        [-back.estimate, -back.high, -back.low], abs=0.004
    )


@pytest.mark.parametrize("bad", [[0.0, float("nan")], [0.0, float("inf")], [0.0, None], [[0.0, 1.0]]])
def test_what_is_no_number_is_refused(bad: list) -> None:
    with pytest.raises(DataError):
        mean_interval(bad, [1, 2], seed=1)


@pytest.mark.parametrize("ids", [[1], [1, 2, 3], [1, None], [1.0, float("nan")]])
def test_every_row_needs_a_cluster(ids: list) -> None:
    with pytest.raises(DataError, match="clusters"):
        mean_interval([0.0, 1.0], ids, seed=1)


def test_unpaired_rows_and_values_outside_their_range_are_refused() -> None:
    with pytest.raises(DataError, match="same rows"):
        paired_difference([0.0], [0.0, 1.0], [1, 2], seed=1)
    with pytest.raises(DataError, match="bounds"):
        mean_interval([5.0, 7.0], [1, 2], seed=1)


def test_nothing_to_estimate_is_said() -> None:
    with pytest.raises(NotEnoughData):
        mean_interval([], [], seed=1)
    with pytest.raises(NotEnoughData, match="zero in every row"):
        ratio_interval([0.0, 0.0], [0.0, 0.0], [1, 2], seed=1)
    with pytest.raises(NotEnoughData, match="two clusters"):
        cluster_robust_interval([0.0, 1.0], [1, 1])
