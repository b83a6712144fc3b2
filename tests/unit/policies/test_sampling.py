"""Samples: stated shares are met, places nobody can fill move on, the seed decides the rest."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.cares import METHODS
from policies.errors import ConfigurationError
from policies.records import Prompt
from policies.sampling import largest_remainder
from policies.sources.bank import load_bank
from policies.splits import sample


@pytest.fixture(scope="module")
def bank() -> list[Prompt]:
    return load_bank()


def rows(level: int, count: int, method: str | None = "direct") -> list[Prompt]:
    return [Prompt(f"{level} {n} {method}", level, f"{level} {n}", method=method) for n in range(count)]


def test_stated_shares_are_met_exactly(bank: list[Prompt]) -> None:
    chosen = sample(bank, 200, seed=0, level_shares={0: 5, 1: 1, 2: 2, 3: 2}, hard_benign_share=0.5)
    assert Counter(p.harmful_level for p in chosen) == {0: 100, 1: 20, 2: 40, 3: 40}
    assert sum(p.hard_benign for p in chosen) == 50


def test_one_rewrite_a_base_prompt(bank: list[Prompt]) -> None:
    chosen = sample(bank, 300, seed=0)
    assert len({p.base_prompt for p in chosen}) == 300


def test_methods_are_even_without_weights_and_follow_them_with(bank: list[Prompt]) -> None:
    even = Counter(p.method for p in sample(bank, 200, seed=0))
    assert even == dict.fromkeys(METHODS, 50)
    weighted = sample(bank, 200, seed=0, method_weights={"direct": 3, "role_play": 1})
    assert Counter(p.method for p in weighted) == {"direct": 150, "role_play": 50}


def test_methods_are_even_within_each_level(bank: list[Prompt]) -> None:
    counts = Counter(
        (p.harmful_level, p.method)
        for p in sample(bank, 160, seed=0, level_shares=dict.fromkeys(range(4), 1))
    )
    assert set(counts.values()) <= {9, 10, 11}


def test_methods_are_even_where_each_base_prompt_has_only_one() -> None:
    single = [Prompt(f"{m} {n}", 0, f"{m} {n}", method=m) for m in METHODS for n in range(20)]
    assert Counter(p.method for p in sample(single, 20, seed=1)) == dict.fromkeys(METHODS, 5)


def test_principles_and_levels_come_in_their_own_mix(bank: list[Prompt]) -> None:
    chosen = sample(bank, 100, seed=0)
    # Base prompts of levels 0 to 3: 807, 444, 547 and 208 of 2,006, so 40.2, 22.1, 27.3 and 10.4 of 100.
    assert Counter(p.harmful_level for p in chosen) == {0: 40, 1: 22, 2: 27, 3: 11}
    assert all(8 <= count <= 17 for count in Counter(p.principle_index for p in chosen).values())


def test_a_level_that_runs_short_gives_its_places_to_the_others() -> None:
    chosen = sample(rows(0, 50) + rows(3, 2), 20, seed=0, level_shares={0: 1, 3: 1})
    assert Counter(p.harmful_level for p in chosen) == {0: 18, 3: 2}


def test_a_level_without_a_share_is_never_drawn() -> None:
    chosen = sample(rows(0, 50) + rows(3, 2), 20, seed=0, level_shares={3: 1})
    assert Counter(p.harmful_level for p in chosen) == {3: 2}


def test_second_rewrites_come_only_after_all_first_ones() -> None:
    pool = rows(0, 10) + rows(0, 10, "role_play")
    assert set(Counter(p.base_prompt for p in sample(pool, 10, seed=0)).values()) == {1}
    assert sorted(Counter(p.base_prompt for p in sample(pool, 15, seed=0)).values()) == [1] * 5 + [2] * 5


def test_more_than_there_are_gives_all() -> None:
    assert len(sample(rows(0, 7) + rows(2, 3), 100, seed=0)) == 10


def test_prompts_without_a_method_may_always_be_drawn() -> None:
    assert len(sample(rows(0, 5, None), 5, seed=0, method_weights={"obfuscate": 1})) == 5


def test_the_order_of_rows_does_not_matter_and_the_seed_does(bank: list[Prompt]) -> None:
    shuffled = random.Random(3).sample(bank, len(bank))
    assert sample(shuffled, 50, seed=4) == sample(bank, 50, seed=4)
    assert sample(bank, 50, seed=5) != sample(bank, 50, seed=4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"level_shares": {4: 1.0}},
        {"level_shares": {0: -1.0, 1: 2.0}},
        {"level_shares": {0: 0.0}},
        {"level_shares": {0: float("nan")}},
        {"method_weights": {"telepathy": 1.0}},
        {"hard_benign_share": 1.5},
        {"stratify": ("colour",)},
        {"n": -1},
    ],
)
def test_impossible_shares_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        sample(rows(0, 5), **{"n": 2, "seed": 0, **wrong})  # type: ignore[arg-type]


def test_largest_remainder_by_hand() -> None:
    assert largest_remainder(10, [5, 3, 1]) == [6, 3, 1]  # quotas 5.56, 3.33, 1.11
    assert largest_remainder(10, [1, 1], capacities=[2, 20]) == [2, 8]
    assert largest_remainder(1, [0.5, 0.25, 0.25], owed=[-0.5, 0.25, 0.3]) == [0, 0, 1]


@given(
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20)), max_size=8),
)
def test_largest_remainder_gives_what_fits(total: int, cells: list[tuple[int, int]]) -> None:
    weights, capacities = [w for w, _ in cells], [c for _, c in cells]
    places = largest_remainder(total, weights, capacities=capacities)
    assert all(0 <= place <= capacity for place, capacity in zip(places, capacities, strict=True))
    assert sum(places) == min(total, sum(c for w, c in cells if w))
