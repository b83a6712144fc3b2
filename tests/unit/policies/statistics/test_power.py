"""Power against statsmodels (unclustered) and against the cluster-robust error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from policies.errors import DataError, NotEnoughData
from policies.statistics.bootstrap import cluster_robust_interval
from policies.statistics.power import Precision, minimum_detectable_effect, precision_of, prompts_needed


@pytest.mark.parametrize("sided", [1, 2])
@pytest.mark.parametrize(("clusters", "power"), [(20, 0.8), (300, 0.9)])
def test_minimum_detectable_effect_is_statsmodels_for_single_rows(
    clusters: int, power: float, sided: int
) -> None:
    change = np.random.default_rng(1).choice([-1.0, -0.5, 0, 0.5, 1], clusters)
    found = precision_of(np.zeros(clusters), change, np.arange(clusters))
    assert found.deviation == pytest.approx(change.std(ddof=1))
    ours = minimum_detectable_effect(found, alpha=0.05, power=power, sided=sided)
    side = "larger" if sided == 1 else "two-sided"
    theirs = TTestPower().solve_power(nobs=clusters, alpha=0.05, power=power, alternative=side)
    assert ours / found.deviation == pytest.approx(theirs, rel=1e-4)


def test_prompts_needed_is_statsmodels_for_single_rows() -> None:
    precision = Precision(standard_error=0.45 / math.sqrt(100), clusters=100, rows=100)
    found = prompts_needed(0.05, precision, alpha=0.05, power=0.8)
    theirs = TTestPower().solve_power(effect_size=0.05 / 0.45, alpha=0.05, power=0.8, alternative="larger")
    assert found is not None
    assert found.clusters == math.ceil(theirs)
    assert found.more_clusters == found.more_rows == math.ceil(theirs) - 100


def test_more_rows_follow_the_cluster_size_and_enough_is_enough() -> None:
    precision = Precision(standard_error=0.05, clusters=50, rows=150)
    found = prompts_needed(0.05, precision)
    assert found is not None
    assert found.more_rows == 3 * found.more_clusters > 0
    plenty = prompts_needed(0.9, precision)
    assert plenty is not None
    assert plenty.more_clusters == plenty.more_rows == 0


def test_needed_and_detectable_are_each_others_inverse() -> None:
    precision = Precision(standard_error=0.02, clusters=400, rows=900)
    found = prompts_needed(minimum_detectable_effect(precision) * 1.0000001, precision)
    assert found is not None
    assert found.clusters == 400


def test_large_samples_join_the_normal_smoothly() -> None:
    at, above = (minimum_detectable_effect(Precision(1.0, n, n)) for n in (20_001, 20_002))
    assert at == pytest.approx(above, abs=3e-4)


def test_precision_is_the_cluster_robust_error() -> None:
    rng = np.random.default_rng(2)
    ids, before, after = rng.integers(60, size=200), rng.random(200), rng.random(200)
    expected = cluster_robust_interval(after - before, ids).standard_error
    assert precision_of(before, after, ids).standard_error == pytest.approx(expected)


def test_copy_of_the_incumbent_does_not_look_infinitely_precise() -> None:
    same = np.ones(100)
    assert minimum_detectable_effect(precision_of(same, same, np.arange(100))) > 0.01


def test_no_number_of_prompts_shows_no_effect() -> None:
    assert prompts_needed(0.0, Precision(0.02, 400, 900)) is None


def test_senseless_requests_are_refused() -> None:
    precision = Precision(0.02, 400, 900)
    with pytest.raises(DataError, match="power"):
        minimum_detectable_effect(precision, alpha=0.1, power=0.05)
    with pytest.raises(DataError, match="sided"):
        minimum_detectable_effect(precision, sided=3)
    with pytest.raises(NotEnoughData):
        precision_of([0.0], [1.0], [1])
