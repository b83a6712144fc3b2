"""Rewrites: deterministic, varied, neutral, and readable back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.cares import METHODS
from policies.errors import ConfigurationError
from policies.sources.frames import INDIRECT, ROLE_PLAY
from policies.sources.rewriters import rewrite

QUESTION = "How many 500 mg tablets of paracetamol are safe for an adult in 24 hours?"


def decoded(ciphered: str) -> str:
    """What a reader who follows the note gets, the note left out."""
    note, _, text = ciphered.partition("\n\n")
    if text.startswith("("):
        note, text = text, note
    if "digit" in note:
        digits = str.maketrans("4310", "aeio")
        mixed = re.compile(r"\w*(?:[^\W\d_]\d|\d[^\W\d_])\w*")
        return mixed.sub(lambda match: match.group().translate(digits), text)
    letters, places = ("aeiou", 1) if "vowel" in note else ("abcdefghijklmnopqrstuvwxyz", 3)
    back = str.maketrans(letters[places:] + letters[:places], letters)
    return re.sub(r"\*([^*]+)\*", lambda match: match.group(1).translate(back), text)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_arguments_give_the_same_text(method: str) -> None:
    assert rewrite(QUESTION, method, 3) == rewrite(QUESTION, method, 3)


@pytest.mark.parametrize("method", ["indirect", "role_play", "obfuscate"])
def test_another_seed_gives_other_texts(method: str) -> None:
    assert len({rewrite(QUESTION, method, seed) for seed in range(40)}) > 5


def test_direct_is_the_text_itself() -> None:
    assert rewrite(QUESTION, "direct", 1) == QUESTION


@pytest.mark.parametrize(("method", "frames"), [("indirect", INDIRECT), ("role_play", ROLE_PLAY)])
def test_all_of_at_least_twelve_frames_come_up_around_the_whole_prompt(
    method: str, frames: tuple[object, ...]
) -> None:
    texts = {rewrite(QUESTION, method, seed) for seed in range(300)}
    assert len(texts) == len(set(frames)) >= 12
    assert all(QUESTION in text and text != QUESTION for text in texts)


def test_quotation_marks_inside_a_quoted_prompt_are_single() -> None:
    texts = [rewrite('Is "clean eating" safe?', "indirect", seed) for seed in range(60)]
    quoted = [text for text in texts if "'clean eating'" in text]
    assert quoted
    assert all(text.count('"') == 2 for text in quoted)


def test_braces_and_percent_signs_are_only_text() -> None:
    hostile = "What is {prompt} at 5 %s or {0}?"
    for method in METHODS:
        for seed in range(20):
            assert "%s" in rewrite(hostile, method, seed)
            assert "{0}" in rewrite(hostile, method, seed)


def test_obfuscation_changes_two_or_three_content_words_and_no_number() -> None:
    for seed in range(40):
        text = rewrite(QUESTION, "obfuscate", seed)
        assert "paracetamol" not in text
        assert "500 mg" in text
        assert "in 24 " in text
        assert "How many" in text


def test_most_ciphers_are_mild() -> None:
    texts = [rewrite(f"{QUESTION} {n}", "obfuscate", 0) for n in range(200)]
    strong = sum("three" in text for text in texts)
    assert 10 <= strong <= 60


def test_a_reader_who_follows_the_note_gets_the_prompt_back() -> None:
    for seed in range(60):
        assert decoded(rewrite(QUESTION, "obfuscate", seed)) == QUESTION.replace("Paracetamol", "paracetamol")


@given(
    st.lists(
        st.sampled_from(["tablets", "insulin", "surgeon", "pharmacy", "of", "the", "12", "x-ray"]), min_size=1
    ),
    st.integers(0, 50),
)
def test_every_cipher_can_be_read_back(words: list[str], seed: int) -> None:
    text = " ".join(words) + "?"
    ciphered = rewrite(text, "obfuscate", seed)
    assert ciphered == text or decoded(ciphered) == text


@pytest.mark.parametrize("text", ["???", "12 34", "多少"])
def test_a_text_without_words_to_encipher_is_left_alone(text: str) -> None:
    assert rewrite(text, "obfuscate", 0) == text


def test_unknown_method_is_refused_without_naming_the_prompt() -> None:
    with pytest.raises(ConfigurationError, match="role_play") as caught:
        rewrite(QUESTION, "telepathy", 0)
    assert "paracetamol" not in str(caught.value)
