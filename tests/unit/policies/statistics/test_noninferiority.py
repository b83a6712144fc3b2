"""Non-inferiority against published intervals and closed forms, and honesty where nothing happened."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.errors import DataError
from policies.statistics.noninferiority import bonett_price_interval, noninferiority, tango_interval


def pairs(up: int, down: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    before, after = np.zeros(rows), np.zeros(rows)
    after[:up] = 1
    before[up : up + down] = 1
    return before, after


@pytest.mark.parametrize(
    ("up", "down", "rows", "level", "expected", "digits"),
    [
        (7, 1, 21, 0.95, (0.026, 0.517), 3),  # Bentur et al. 2009 in Fagerland et al.
        (28, 25, 618, 0.90, (-0.0148, 0.0247), 4),  # R PropCIs::scoreci.mp(25, 28, 618)
    ],
)
def test_tango_interval_agrees_with_published_ones(
    up: int, down: int, rows: int, level: float, expected: tuple[float, float], digits: int
) -> None:
    found = tango_interval(up, down, rows, level=level)
    assert tuple(round(end, digits) for end in found) == expected


def test_tango_without_changes_has_its_closed_form() -> None:
    bound = 1.959963984540054**2 / (50 + 1.959963984540054**2)
    assert tango_interval(0, 0, 50) == pytest.approx((-bound, bound), abs=1e-9)


@pytest.mark.parametrize(("up", "down", "rows"), [(3, 9, 40), (0, 5, 30), (6, 0, 6), (0, 4, 4)])
def test_tango_turns_round_with_the_pairs(up: int, down: int, rows: int) -> None:
    low, high = tango_interval(up, down, rows)
    assert tango_interval(down, up, rows) == pytest.approx((-high, -low), abs=1e-9)
    assert -1 <= low <= (up - down) / rows <= high <= 1


def test_bonett_price_has_its_closed_form_without_clusters() -> None:
    before, after = pairs(9, 4, 60)
    up, down = 10 / 62, 5 / 62
    reach = 1.959963984540054 * np.sqrt((up + down - (up - down) ** 2) / 62)
    found = bonett_price_interval(before, after, np.arange(60))
    assert found == pytest.approx((up - down - reach, up - down + reach), abs=1e-12)


def test_no_events_at_all_need_enough_clusters() -> None:
    nothing = np.zeros(40)
    few = noninferiority(nothing, nothing, np.arange(40), margin=0.05, seed=1)
    assert few.bootstrap_upper == pytest.approx(1 - 0.05 ** (1 / 40))  # the exact binomial bound
    assert not few.holds
    rewrites = noninferiority(np.zeros(400), np.zeros(400), np.arange(400) // 10, margin=0.05, seed=1)
    assert rewrites.upper == pytest.approx(few.upper)  # rewrites of 40 prompts are 40 prompts
    many = noninferiority(np.zeros(200), np.zeros(200), np.arange(200), margin=0.05, seed=1)
    assert many.holds
    assert many.p_value == pytest.approx(0.95**200, abs=0.001)


def test_refusing_a_tenth_more_is_not_noninferior() -> None:
    before, after = pairs(30, 0, 300)
    found = noninferiority(before, after, np.arange(300), margin=0.05, seed=1)
    assert not found.holds
    assert found.estimate == pytest.approx(0.1)
    assert found.p_value > 0.9
    assert (found.before_events, found.after_events) == (0, 30)


def test_small_balanced_changes_are_noninferior_and_the_bounds_agree() -> None:
    before, after = pairs(6, 6, 400)
    found = noninferiority(before, after, np.arange(400), margin=0.05, resamples=5000, seed=1)
    assert found.holds
    assert found.upper == max(found.bootstrap_upper, found.analytic_upper)
    assert found.analytic_upper == pytest.approx(found.tango_upper, abs=0.002)
    assert found.bootstrap_upper == pytest.approx(found.tango_upper, abs=0.003)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 6)), min_size=4, max_size=30),
    st.integers(2, 3),
)
def test_duplicates_do_not_help(rows: list, times: int) -> None:
    before, after, ids = (np.array(column) for column in zip(*rows, strict=True))
    plain = noninferiority(before, after, ids, margin=0.1, resamples=200, seed=1)
    copied = noninferiority(
        *(np.repeat(x, times) for x in (before, after, ids)), margin=0.1, resamples=200, seed=1
    )
    assert copied.upper == pytest.approx(plain.upper)
    assert copied.p_value == pytest.approx(plain.p_value)


def test_false_noninferiority_stays_at_alpha_on_the_margins_edge() -> None:
    rng = np.random.default_rng(3)
    ids = np.repeat(np.arange(100), 2)
    passed = 0
    for seed in range(200):
        flips = rng.random(100)[ids]  # rewrites flip together: +7 % and −2 %
        after, before = (flips < 0.07).astype(float), (flips > 0.98).astype(float)
        passed += noninferiority(before, after, ids, margin=0.05, resamples=300, seed=seed).holds
    assert passed <= 20  # 5 % of 200, and three standard deviations


@pytest.mark.parametrize("margin", [-0.01, 1.0, float("nan")])
def test_margin_out_of_range_is_refused(margin: float) -> None:
    with pytest.raises(DataError, match="margin"):
        noninferiority([0.0, 1.0], [0.0, 1.0], [1, 2], margin=margin, seed=1)
