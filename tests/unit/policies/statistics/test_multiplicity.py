"""Holm against statsmodels; spending plans against closed forms and published values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from policies.errors import ConfigurationError, DataError
from policies.statistics.multiplicity import SPENDING, SpendingPlan, holm


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(0, 200).map(lambda n: n / 200), min_size=1, max_size=12),
    st.sampled_from([0.01, 0.05, 0.2]),
)
def test_holm_agrees_with_statsmodels(p_values: list[float], alpha: float) -> None:
    reject, adjusted, _, _ = multipletests(p_values, alpha=alpha, method="holm")
    ours = holm(p_values, alpha=alpha)
    assert ours.adjusted == pytest.approx(adjusted, abs=1e-12)
    clear = np.abs(adjusted - alpha) > 1e-12
    assert (ours.reject == reject)[clear].all()


def test_holm_refuses_what_is_no_probability() -> None:
    for bad in ([0.1, float("nan")], [1.2]):
        with pytest.raises(DataError, match="p-values"):
            holm(bad)


@pytest.mark.parametrize("spending", SPENDING)
def test_plans_never_overspend_and_add_up(spending: str) -> None:
    plan = SpendingPlan(alpha=0.05, spending=spending, cycles=12)
    alphas = [plan.alpha_for_cycle(cycle) for cycle in range(1, 200)]
    assert min(alphas) >= 0
    assert sum(alphas) <= 0.05 + 1e-12
    assert plan.spent_through(12) == pytest.approx(sum(alphas[:12]), abs=1e-12)
    assert plan.remaining(12) == pytest.approx(0.05 - sum(alphas[:12]), abs=1e-12)
    assert plan.spent_through(0) == 0


@pytest.mark.parametrize("spending", ["pocock", "obrien_fleming"])
def test_planned_spending_is_complete_at_the_last_cycle_and_over_after_it(spending: str) -> None:
    plan = SpendingPlan(alpha=0.025, spending=spending, cycles=5)
    assert plan.spent_through(5) == pytest.approx(0.025)
    assert plan.alpha_for_cycle(6) == 0


def test_spending_functions_have_their_published_values() -> None:
    # One-sided 0.025 at half the information: Lan and DeMets 1983.
    halfway = SpendingPlan(alpha=0.025, spending="obrien_fleming", cycles=2)
    assert halfway.spent_through(1) == pytest.approx(0.00153, abs=5e-6)
    pocock = SpendingPlan(alpha=0.025, spending="pocock", cycles=2)
    assert pocock.spent_through(1) == pytest.approx(0.025 * np.log(1 + (np.e - 1) / 2), abs=1e-12)


def test_unlimited_plans_always_leave_something() -> None:
    assert SpendingPlan(alpha=0.05, spending="harmonic").alpha_for_cycle(3) == pytest.approx(0.05 / 12)
    geometric = SpendingPlan(alpha=0.05, spending="geometric", ratio=0.5)
    assert geometric.alpha_for_cycle(3) == pytest.approx(0.05 / 8)
    for plan in (SpendingPlan(), geometric):
        assert plan.remaining(40) > 0


@pytest.mark.parametrize(
    "bad", [{"alpha": 0.0}, {"spending": "everything"}, {"spending": "pocock"}, {"ratio": 1.0}]
)
def test_plans_that_cannot_be_are_refused_by_name(bad: dict) -> None:
    with pytest.raises(ConfigurationError, match="alpha spending"):
        SpendingPlan(**bad)


def test_cycles_count_from_one() -> None:
    with pytest.raises(DataError):
        SpendingPlan().alpha_for_cycle(0)
