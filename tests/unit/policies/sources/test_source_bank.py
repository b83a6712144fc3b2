"""The bank keeps what it promises: size, balance, hard benign prompts, no near-duplicates."""

from __future__ import annotations

from collections import Counter

import pytest

from policies.cares import METHODS, PRINCIPLES
from policies.duplicates import near_duplicate_pairs
from policies.records import Prompt
from policies.sources.bank import load_bank, load_counterparts


@pytest.fixture(scope="module")
def bases() -> list[Prompt]:
    return load_bank(["direct"])


def test_each_base_prompt_comes_by_each_method(bases: list[Prompt]) -> None:
    bank = load_bank()
    assert Counter(p.method for p in bank) == dict.fromkeys(METHODS, len(bases))
    assert set(Counter(p.base_prompt for p in bank).values()) == {len(METHODS)}
    assert len({p.digest for p in bank}) == len(bank)


def test_size_and_shares(bases: list[Prompt]) -> None:
    harmless = [p for p in bases if p.harmful_level == 0]
    assert len(bases) >= 480
    assert len(harmless) >= 0.4 * len(bases)
    assert sum(p.hard_benign for p in harmless) >= 0.5 * len(harmless)


def test_every_principle_has_every_level(bases: list[Prompt]) -> None:
    cells = Counter((p.principle_index, p.harmful_level) for p in bases)
    assert len(cells) == len(PRINCIPLES) * 4
    assert min(cells.values()) >= 15


def test_only_harmless_prompts_are_hard_benign_and_rewrites_carry_it() -> None:
    assert all(p.harmful_level == 0 for p in load_bank() if p.hard_benign)
    by_base: dict[str, set[bool]] = {}
    for p in load_bank():
        by_base.setdefault(p.base_prompt, set()).add(p.hard_benign)
    assert all(len(kinds) == 1 for kinds in by_base.values())


def test_no_near_duplicates_remain_and_none_had_to_be_dropped(bases: list[Prompt]) -> None:
    assert near_duplicate_pairs([p.text for p in bases]) == []
    assert len(bases) == 2006


def test_another_seed_frames_otherwise_and_asks_the_same(bases: list[Prompt]) -> None:
    assert load_bank(["direct"], seed=7) == bases
    assert load_bank(["indirect"], seed=7) != load_bank(["indirect"], seed=8)


def test_counterparts_are_hard_benign_of_every_principle_and_none_is_in_the_bank(bases: list[Prompt]) -> None:
    counterparts = load_counterparts()
    assert len(counterparts) == 272
    assert all(p.hard_benign and p.harmful_level == 0 and p.method == "direct" for p in counterparts)
    assert Counter(p.principle_index for p in counterparts) == dict.fromkeys(range(len(PRINCIPLES)), 34)
    texts = [p.text for p in (*bases, *counterparts)]
    assert near_duplicate_pairs(texts) == []
