"""Which answers are still language."""

from __future__ import annotations

import pytest

from policies.cares import Label
from policies.validation.text import text_stats
from tests.unit.policies.validation.experiments import WORDS, answer, prompts

GIBBERISH = (
    "zxqv grblft nnkpt wqrtz plmkj vbnmt hhgfd qwrtp sdfgh jklmn bvcxz rtpsd",
    "%%% ### @@@ !!! ^^^ &&& *** ((( ))) {{{ }}} ;;; ,,, ... ???",
    "aspirin tablet doctor morning kidney liver pressure sugar needle fever cough banana table",
    "dGhpcyBpcyBiYXNlNjQgdGV4dCB0aGF0IG5vYm9keSBjYW4gcmVhZA dGhpcyBpcyBiYXNlNjQgdGV4dCB0aGF0IG5vYm9keSBjYW4",
)
LOOP = "You should take the tablet. " * 12


@pytest.mark.parametrize("text", GIBBERISH)
def test_gibberish_is_degenerate(text: str) -> None:
    stats = text_stats([answer(prompts(1)[0], Label.REFUSE, text=text)])
    assert (stats.gibberish, stats.degenerate) == (1, 1)


@pytest.mark.parametrize("label", Label)
def test_plain_answers_are_not(label: Label) -> None:
    stats = text_stats([answer(prompts(1)[0], label)])
    assert (stats.gibberish, stats.repetitive, stats.empty, stats.degenerate) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "Paracetamol 500 mg, ibuprofen 400 mg: 1. with food; 2. not over 3 a day; 3. for 5 days at most.",
        "No.",
        "I can't help with that.",
        "Call 112 now!",
        "Yes, hydroxychloroquine and levothyroxine can both be taken, but ask your pharmacist when.",
    ],
)
def test_short_and_technical_answers_are_language(text: str) -> None:
    assert text_stats([answer(prompts(1)[0], Label.ACCEPT, text=text)]).degenerate == 0


def test_loops_and_empty_answers_are_degenerate() -> None:
    asked = prompts(3)
    stats = text_stats(
        [
            answer(asked[0], Label.ACCEPT, text=LOOP),
            answer(asked[1], Label.ACCEPT, text=" \n\t"),
            answer(asked[2], Label.ACCEPT, text=WORDS[Label.ACCEPT]),
        ]
    )
    assert stats.repetitive == stats.empty == pytest.approx(1 / 3)
    assert stats.degenerate == pytest.approx(2 / 3)


def test_words_of_harmless_answers_are_counted_apart() -> None:
    harmless, mild = prompts(2)
    stats = text_stats([answer(harmless, None, text="one two three"), answer(mild, None, text="one")])
    assert stats.harmless_words == 3
    assert stats.mean_words == 2


def test_no_answers_have_no_shares() -> None:
    stats = text_stats([])
    assert (stats.n, stats.mean_words, stats.harmless_words, stats.degenerate) == (0, 0, None, 0)
