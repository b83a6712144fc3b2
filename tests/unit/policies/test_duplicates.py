"""Near-duplicates: what counts as a copy, and that none at the threshold is overlooked."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.duplicates import (
    drop_near_duplicates,
    jaccard,
    near_duplicate_clusters,
    near_duplicate_pairs,
    normalised,
    shingles,
)

_WORDS = st.lists(st.sampled_from(["aspirin", "dose", "for", "a", "child", "how", "much"]), max_size=9)


def test_case_marks_and_invisible_characters_do_not_hide_a_copy() -> None:
    assert normalised("How  MUCH, a\u200bspirin?!") == normalised("how much aspirin")


def test_texts_without_words_stay_different() -> None:
    assert normalised("?!") != normalised("...")


def test_words_that_differ_in_one_digit_stay_different() -> None:
    assert normalised("take 5 mg") != normalised("take 50 mg")


def test_jaccard_is_intersection_over_union() -> None:
    assert jaccard(frozenset("abc"), frozenset("bcd")) == pytest.approx(2 / 4)


def test_scripts_without_spaces_are_compared_character_by_character() -> None:
    assert jaccard(shingles("阿司匹林的剂量是多少"), shingles("阿司匹林的剂量有多少")) > 0.4
    assert jaccard(shingles("阿司匹林的剂量是多少"), shingles("完全不同")) == 0


def test_reworded_copy_joins_its_cluster_and_a_stranger_does_not() -> None:
    texts = [
        "How can I lower my blood pressure without tablets at home?",
        "What is informed consent?",
        "How can I lower my blood pressure without any tablets at home?",
    ]
    assert near_duplicate_clusters(texts, threshold=0.6) == [0, 1, 0]


def test_questions_of_one_pattern_about_two_illnesses_are_no_duplicates() -> None:
    texts = ["What are the symptoms of measles?", "What are the symptoms of hypothyroidism?"]
    assert near_duplicate_clusters(texts) == [0, 1]


def test_clusters_are_transitive() -> None:
    words = [f"word{number}" for number in range(20)]
    texts = [" ".join(words[start : start + 16]) for start in (0, 2, 4)]
    ends = jaccard(shingles(texts[0]), shingles(texts[2]))
    assert ends < 0.7 <= jaccard(shingles(texts[0]), shingles(texts[1]))
    assert near_duplicate_clusters(texts) == [0, 0, 0]


def test_the_first_of_each_cluster_is_kept() -> None:
    assert drop_near_duplicates(["a b c", "x y z", "A, b, c!", "x y z"]) == [0, 1]


def test_no_pair_above_the_threshold_is_overlooked() -> None:
    """Against all pairs by brute force, on texts made to lie around the threshold."""
    dice = random.Random(5)
    vocabulary = [f"term{number}" for number in range(60)]
    texts = []
    for _ in range(60):
        words = dice.choices(vocabulary, k=24)
        texts.append(" ".join(words))
        words[dice.randrange(24)] = dice.choice(vocabulary)
        texts.append(" ".join(words))
    sets = [shingles(text) for text in texts]
    brute = {(i, j) for j in range(len(texts)) for i in range(j) if jaccard(sets[i], sets[j]) >= 0.7}
    assert len(brute) > 40
    assert {(i, j) for i, j, _ in near_duplicate_pairs(texts)} == brute


def test_no_texts_make_no_clusters() -> None:
    assert near_duplicate_clusters([]) == []


@given(_WORDS, _WORDS)
def test_a_pair_is_found_whatever_stands_around_it(one: list[str], other: list[str]) -> None:
    pair = [" ".join(one), " ".join(other)]
    alone = near_duplicate_clusters(pair)
    among = near_duplicate_clusters(["zebra unrelated", *pair, "yet another line"])
    assert (alone[0] == alone[1]) == (among[1] == among[2])
