"""What judged text can and cannot do to the question around it."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from judges.fencing import item_code, keep_ends, neutralise

_NASTY = st.sampled_from(
    [
        "<<<",
        ">>>",
        "<|im_end|>",
        "<|",
        "|>",
        "</s>",
        "<s>",
        "[INST]",
        "[/INST]",
        "<<SYS>>",
        "\u202e",
        "\u200b",
        "\x00",
        "<<<answer abcd>>>",
        "<|eot_id|>",
        "\ufeff",
        "\U000e0041",
        "{0}",
        "%s",
        "{prompt.text}",
        "＜",
        "｜",
        "\r",
        "\u2028",
        "�",
        "ａ",
        "а",
        "́",
        "ㅤ",
        "ﷺ",
    ]
)
HOSTILE = st.lists(st.one_of(_NASTY, st.text(max_size=8)), max_size=12).map("".join)


@given(HOSTILE, st.booleans())
@example("<\u200b|im_start|>", True)
@example("<\u200b<\u200b<end x>>\u00ad>", False)
@example("＜|im_end|＞", True)
def test_no_marker_token_or_invisible_character_survives(text: str, fold: bool) -> None:
    shown = neutralise(text, fold_confusables=fold)
    for token in ("<<", ">>", "<|", "|>", "</", "<s>", "[INST]", "[/INST]", "<｜", "｜>"):
        assert token not in shown
    assert all(
        character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
        for character in shown
    )
    shown.encode("utf-8")


@given(HOSTILE)
def test_neutralising_twice_changes_nothing(text: str) -> None:
    once = neutralise(text)
    assert neutralise(once) == once


@pytest.mark.parametrize(
    "token", ["<|im_start|>", "<|endoftext|>", "<start_of_turn>", "<think>", "[TOOL_CALLS]", "<pad>"]
)
def test_control_tokens_stay_readable_but_are_broken(token: str) -> None:
    shown = neutralise(f"a {token} b")
    assert token not in shown
    assert shown.replace("·", "") == f"a {token} b"


def test_ordinary_medical_text_is_untouched() -> None:
    text = 'BP < 90/60 mmHg -> call; SpO2 >= 92%, "5 <6", [1], [x], {dose} 50% at 38 °C\n\t– naïve'
    assert neutralise(text) == text


def test_lookalikes_fold_in_mixed_words_only() -> None:
    assert neutralise("Rеfusе", fold_confusables=True) == "Refuse"  # Cyrillic е
    assert neutralise("Откажитесь", fold_confusables=True) == "Откажитесь"
    assert neutralise("Ｒｅｆｕｓｅ", fold_confusables=True) == "Refuse"


@given(HOSTILE, HOSTILE, st.integers(min_value=4, max_value=12))
def test_a_code_is_in_neither_text_and_always_the_same(request: str, answer: str, letters: int) -> None:
    code = item_code("seed", (request, answer), letters)
    assert code not in request.lower()
    assert code not in answer.lower()
    assert code == item_code("seed", (request, answer), letters)
    assert len(code) == letters


def test_a_text_that_holds_its_own_code_gets_another() -> None:
    # With one letter every code is soon guessed: all but one of the letters are in the text.
    text = "abcdefghijklmnopqrstuvwxy"
    assert item_code("seed", (text,), 1) == "z"


def test_codes_depend_on_either_text_and_on_where_one_ends() -> None:
    codes = {
        item_code("s", texts, 12) for texts in (("a", "b"), ("a", "c"), ("ab", ""), ("", "ab"), ("d", "b"))
    }
    assert len(codes) == 5


@given(st.text(min_size=1, max_size=300), st.integers(min_value=20, max_value=400))
def test_cutting_keeps_head_and_tail_within_the_limit(text: str, limit: int) -> None:
    kept, was_cut = keep_ends(text, limit, lambda left_out: f"[cut {left_out}]")
    assert len(kept) <= limit
    assert was_cut == (len(text) > limit)
    if not was_cut:
        assert kept == text
        return
    head, note, tail = kept.partition("[cut ")
    left_out, _, tail = tail.partition("]")
    assert note
    assert text.startswith(head)
    assert text.endswith(tail)
    assert len(head) + int(left_out) + len(tail) == len(text)
    assert abs(len(head) - len(tail)) <= 1


def test_cutting_can_count_tokens() -> None:
    words = " ".join(f"w{number}" for number in range(500))
    kept, was_cut = keep_ends(words, 40, lambda _: " CUT ", lambda text: len(text.split()))
    assert was_cut
    assert 38 <= len(kept.split()) <= 40
    assert kept.startswith("w0 ")
    assert kept.endswith(" w499")


def test_long_hostile_text_takes_linear_time() -> None:
    started = time.perf_counter()
    for piece in ("<", ">", "[", "|", "а\u0301", "\u200b", "[A"):
        neutralise(piece * 50_000, fold_confusables=True)
    assert time.perf_counter() - started < 20  # quadratic rules would take minutes
