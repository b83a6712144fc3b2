"""Splits: nothing on two sides, every stratum everywhere, the leak check sees what the split promises."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cares import METHODS
from policies.errors import ConfigurationError, Held, NotEnoughData
from policies.records import Prompt
from policies.sources.bank import load_bank
from policies.sources.cares import load_cares
from policies.splits import FRACTIONS, Splits, assert_no_leak, leak_check, split


def parts(splits: Splits) -> tuple[tuple[Prompt, ...], ...]:
    return splits.train, splits.selection, splits.sealed


def prompt(base: str, *, text: str | None = None, level: int = 0, **rest: object) -> Prompt:
    return Prompt(text=text or base, harmful_level=level, base_prompt=base, **rest)  # type: ignore[arg-type]


def strangers(count: int, level: int = 0) -> list[Prompt]:
    return [prompt(f"alpha{n} beta{n} gamma{n}", level=level) for n in range(count)]


@pytest.fixture(scope="module")
def bank() -> list[Prompt]:
    return load_bank()


@pytest.fixture(scope="module")
def bank_splits(bank: list[Prompt]) -> Splits:
    return split(bank, seed=0)


def test_every_prompt_of_the_bank_is_in_exactly_one_split(bank: list[Prompt], bank_splits: Splits) -> None:
    found = [prompt.digest for part in parts(bank_splits) for prompt in part]
    assert sorted(found) == sorted(prompt.digest for prompt in bank)


def test_rewrites_of_one_base_prompt_stay_together(bank_splits: Splits) -> None:
    for part in parts(bank_splits):
        methods = Counter(prompt.base_prompt for prompt in part)
        assert set(methods.values()) == {len(METHODS)}


def test_bank_splits_have_no_leak(bank_splits: Splits) -> None:
    assert leak_check(bank_splits.train, bank_splits.selection + bank_splits.sealed) == []
    assert leak_check(bank_splits.selection, bank_splits.sealed) == []


def test_every_stratum_gets_its_fraction_to_within_one(bank: list[Prompt], bank_splits: Splits) -> None:
    def strata(prompts: tuple[Prompt, ...] | list[Prompt]) -> Counter[tuple[int, bool, int | None]]:
        return Counter(
            (p.harmful_level, p.hard_benign, p.principle_index) for p in prompts if p.method == "direct"
        )

    whole = strata(bank)
    for name, part in zip(FRACTIONS, parts(bank_splits), strict=True):
        counts = strata(part)
        assert all(abs(counts[key] - FRACTIONS[name] * total) <= 1 for key, total in whole.items())


def test_levels_and_principles_come_out_even(bank_splits: Splits) -> None:
    for attribute in ("harmful_level", "principle_index"):
        train, selection, sealed = (
            Counter(getattr(p, attribute) for p in part) for part in parts(bank_splits)
        )
        for key, count in train.items():
            assert selection[key] == pytest.approx(count / 2, abs=2 * len(METHODS))
            assert sealed[key] == pytest.approx(count / 2, abs=2 * len(METHODS))


def test_strata_of_one_do_not_all_go_to_train() -> None:
    lonely = [
        replace(prompt, harmful_level=n // 8 % 4, principle_index=n % 8)
        for n, prompt in enumerate(strangers(32))
    ]
    sizes = [len(part) for part in parts(split(lonely, seed=1))]
    assert sizes == pytest.approx([16, 8, 8], abs=2)


def test_near_duplicate_base_prompts_lie_on_one_side() -> None:
    pairs = [
        prompt(f"Please{mark} tell me about alpha{n} and beta{n} or gamma{n} and delta{n} today")
        for n in range(20)
        for mark in ("", " kindly")
    ]
    result = split(pairs, seed=3, threshold=0.6)
    for part in parts(result):
        numbers = Counter(p.text.split("alpha")[1].split()[0] for p in part)
        assert set(numbers.values()) == {2}


def test_equal_texts_under_two_base_prompts_lie_on_one_side() -> None:
    twins = [prompt(f"base{n} {side}{n}", text=f"Same text{n}, asked") for n in range(20) for side in "xy"]
    for part in parts(split(twins, seed=3)):
        assert set(Counter(p.text for p in part).values()) == {2}


def test_a_shared_frame_does_not_make_near_duplicates() -> None:
    frame = "You are a doctor of long experience in a small town by the sea. Stay in character and answer: "
    framed = [replace(p, text=frame + p.text, method="role_play") for p in strangers(12)]
    assert leak_check(framed[:6], framed[6:]) == []


def test_order_of_rows_does_not_matter_and_the_seed_does(bank: list[Prompt], bank_splits: Splits) -> None:
    shuffled = random.Random(9).sample(bank, len(bank))
    assert split(shuffled, seed=0) == bank_splits
    assert split(bank, seed=1).digests != bank_splits.digests


def test_digests_name_the_content_of_each_split(bank_splits: Splits) -> None:
    fewer = replace(bank_splits, train=bank_splits.train[1:])
    assert set(bank_splits.digests) == set(FRACTIONS)
    assert fewer.digests["train"] != bank_splits.digests["train"]
    assert fewer.digests["sealed"] == bank_splits.digests["sealed"]


def test_a_prompt_given_twice_counts_once() -> None:
    once = strangers(12)
    assert split(once + once, seed=0) == split(once, seed=0)


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(NotEnoughData, match="split empty"):
        split(strangers(2), seed=0)
    with pytest.raises(NotEnoughData):
        split([], seed=0)


@pytest.mark.parametrize(
    "fractions",
    [
        {"train": 0.5, "selection": 0.5},
        {"train": 0.5, "selection": 0.25, "sealed": 0.2},
        {"train": 1.0, "selection": 0.0, "sealed": 0.0},
        {"train": float("nan"), "selection": 0.5, "sealed": 0.5},
        {"train": 0.4, "selection": 0.3, "sealed": 0.2, "spare": 0.1},
    ],
)
def test_fractions_that_do_not_divide_the_whole_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="fractions"):
        split(strangers(20), fractions=fractions, seed=0)


def test_each_kind_of_leak_is_found_once_a_held_out_prompt() -> None:
    train = [
        prompt("How much aspirin may a healthy adult take in a day?"),
        prompt("base one", text="Hello, you!"),
    ]
    held_out = [
        prompt("how much ASPIRIN may a healthy adult take in a day", text="framed", method="role_play"),
        prompt("base two", text="hello you"),
        prompt("How much aspirin may a healthy grown adult take in a day?"),
        prompt("Something else entirely"),
    ]
    leaks = leak_check(train, held_out, threshold=0.6)
    assert [leak.kind for leak in leaks] == ["base_prompt", "text", "near_duplicate"]
    assert [leak.held_out_digest for leak in leaks] == [p.digest for p in held_out[:3]]
    assert [leak.train_digest for leak in leaks] == [train[0].digest, train[1].digest, train[0].digest]


def test_a_leak_holds_with_a_count_and_a_digest_and_without_the_text() -> None:
    shared = prompt("Secret words of a patient")
    with pytest.raises(Held) as caught:
        assert_no_leak([shared], [shared, *strangers(2)])
    assert "1 held-out" in str(caught.value)
    assert shared.digest[:12] in str(caught.value)
    assert "Secret" not in str(caught.value)


def test_clean_sides_pass() -> None:
    train, held_out = strangers(4), [prompt("Something else entirely")]
    assert leak_check(train, held_out) == []
    assert_no_leak(train, held_out)
    with pytest.raises(Held):  # the same sides with one row on both are not clean
        assert_no_leak([*train, *held_out], held_out)


def test_real_cares_rows_split_without_leak(shared_data: Path) -> None:
    result = split(load_cares(shared_data / "cares"), seed=0)
    assert sum(map(len, parts(result))) == 22
    assert_no_leak(result.train, result.selection + result.sealed)


_PROMPTS = st.builds(
    Prompt,
    text=st.text(st.sampled_from("ab c?"), max_size=8),
    harmful_level=st.sampled_from([0, 1, 2, 3]),
    base_prompt=st.text(st.sampled_from("abcd e"), max_size=6),
    principle_index=st.sampled_from([None, 0, 7]),
    method=st.sampled_from([None, *METHODS]),
    hard_benign=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_PROMPTS, max_size=30), st.integers(0, 5))
def test_whatever_the_prompts_nothing_is_lost_and_nothing_leaks(prompts: list[Prompt], seed: int) -> None:
    rows = prompts + strangers(6, level=1)
    try:
        result = split(rows, seed=seed)
    except NotEnoughData:
        return
    assert {p.digest for part in parts(result) for p in part} == {p.digest for p in rows}
    bases = [{p.base_prompt for p in part} for part in parts(result)]
    assert len(bases[0] | bases[1] | bases[2]) == sum(map(len, bases))
    assert leak_check(result.train, result.selection + result.sealed) == []
    assert leak_check(result.selection, result.sealed) == []
