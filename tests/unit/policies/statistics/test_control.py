"""The sentinel's limit against the binomial distribution."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from policies.errors import DataError
from policies.statistics.control import has_drifted, lower_limit


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(0, 200).map(lambda n: n / 200), st.sampled_from([0.001, 0.01, 0.05]))
def test_limit_is_the_highest_with_false_alarms_at_most_alpha(n: int, expected: float, alpha: float) -> None:
    limit = lower_limit(n, expected, alpha)
    assert binom.cdf(limit - 1, n, expected) <= alpha
    assert binom.cdf(limit, n, expected) > alpha


def test_limit_by_hand() -> None:
    # Of 10 fair coins: P(0) = 1/1024, P(≤ 1) = 11/1024.
    assert lower_limit(10, 0.5, 0.01) == 1
    assert lower_limit(10, 0.5, 11 / 1024 + 1e-12) == 2


def test_drift_is_below_the_limit_only() -> None:
    limit = lower_limit(100, 0.95, 0.001)
    assert has_drifted(limit - 1, 100, 0.95, 0.001)
    assert not has_drifted(limit, 100, 0.95, 0.001)


def test_perfect_record_allows_no_disagreement_and_tiny_sets_never_alarm() -> None:
    assert has_drifted(49, 50, 1.0)
    assert not has_drifted(50, 50, 1.0)
    assert lower_limit(2, 0.9, 0.001) == 0


@pytest.mark.parametrize(
    ("agreements", "n", "expected"), [(5, 4, 0.9), (-1, 4, 0.9), (1, 4, 1.1), (0, 0, 0.9)]
)
def test_impossible_counts_are_refused(agreements: int, n: int, expected: float) -> None:
    with pytest.raises(DataError, match="control limit"):
        has_drifted(agreements, n, expected)
