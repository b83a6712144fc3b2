"""Refusals said word for word about several prompts are lent to others, and nothing else is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from policies.cares import Label
from policies.preferences import dpo_pairs
from policies.preferences.lending import Lender
from policies.records import Judged
from tests.unit.policies.test_preferences import judged, two

A, C, R = Label.ACCEPT, Label.CAUTION, Label.REFUSE
NO = "I can't help with that."
NEVER = "That I will not do."


def said(level: int, texts: dict[str, int], *, label: Label = R, first: int = 0) -> list[Judged]:
    """Each text, judged `label`, about so many prompts of their own."""
    spread = [text for text, count in texts.items() for _ in range(count)]
    return [judged(first + n, level, label, text, worked=True) for n, text in enumerate(spread)]


def lent(answers: list[Judged], level: int, count: int = 200) -> Counter[str | None]:
    lender = Lender(answers, seed=1)
    found = [lender.lend(judged(9000 + n, level, A).prompt) for n in range(count)]
    return Counter(one.response.text if one else None for one in found)


def test_a_sentence_is_lent_as_often_as_it_is_said() -> None:
    shares = lent(said(2, {NO: 30, NEVER: 10}), 3, count=2000)
    assert set(shares) == {NO, NEVER}
    assert 0.70 < shares[NO] / 2000 < 0.80  # binomial, 0.75 ± 5 standard deviations


def test_what_was_said_about_one_base_prompt_alone_is_not_lent() -> None:
    assert lent(said(2, {NO: 1, NEVER: 2}), 2) == {NEVER: 200}
    (one,) = said(2, {NO: 1})
    rewrite = replace(one, prompt=replace(one.prompt, text="asked otherwise"))
    assert lent([one, rewrite], 2) == {None: 200}


def test_harmful_and_harmless_prompts_borrow_from_their_own_kind() -> None:
    answers = [*said(3, {NO: 5}), *said(0, {NEVER: 5}, first=100)]
    assert lent(answers, 1) == {NO: 200}
    assert lent(answers, 0) == {NEVER: 200}


def test_a_sentence_that_judges_do_not_agree_on_is_not_lent() -> None:
    agreed = [*said(2, {NO: 9}), *said(2, {NO: 1}, label=C, first=50)]
    assert lent(agreed, 2) == {NO: 200}
    assert lent([*agreed, *said(2, {NO: 1}, label=A, first=60)], 2) == {None: 200}


def test_what_a_prompt_is_lent_does_not_hang_on_the_order_of_answers() -> None:
    answers = said(2, {NO: 5, NEVER: 5})
    prompts = [judged(9000 + n, 2, A).prompt for n in range(20)]
    one, other = Lender(answers, seed=3), Lender(answers[::-1], seed=3)
    assert [one.lend(p) for p in prompts] == [other.lend(p) for p in prompts]


def test_pairs_with_borrowed_refusals_say_so() -> None:
    harmful, harmless = said(3, {NO: 8}), said(0, {NEVER: 8}, first=100)
    own = [judged(n, 3, A) for n in range(8)] + [judged(100 + n, 0, A) for n in range(8)]
    others = [judged(200, 3, A), judged(201, 0, A), *two(202, 3, A, A)]
    preferences = dpo_pairs(
        [*harmful, *harmless, *own, *others], seed=0, borrow_refusals=True, harmful_ratio=2
    )
    pairs = preferences.dpo
    assert preferences.borrowed == 3
    assert {pair.prompt for pair in pairs if pair.borrowed} == {"prompt 200", "prompt 201", "prompt 202"}
    assert len(pairs) == 19
    for pair in pairs:
        if pair.harmful:
            assert pair.chosen == NO
        else:
            assert pair.rejected == NEVER
    without = dpo_pairs([*harmful, *harmless, *own, *others], seed=0).dpo
    assert len(without) == 16
    assert not any(pair.borrowed for pair in without)


def test_a_prompt_that_was_declined_borrows_nothing() -> None:
    answers = [*said(3, {NO: 8}), *said(0, {NEVER: 8}, first=100)]
    own = [judged(n, 3, A) for n in range(8)] + [judged(100 + n, 0, A) for n in range(8)]
    declined = [judged(200, 3, R), judged(201, 0, R)]
    pairs = dpo_pairs([*answers, *own, *declined], seed=0, borrow_refusals=True).dpo
    assert len(pairs) == 16


def test_what_an_earlier_cycle_asked_borrows_too() -> None:
    answers = [*said(3, {NO: 8}), *said(0, {NEVER: 8}, first=100)]
    own = [judged(n, 3, A) for n in range(8)] + [judged(100 + n, 0, A) for n in range(8)]
    pairs = dpo_pairs([*answers, *own], replayed=[judged(300, 2, A)], seed=0, borrow_refusals=True).dpo
    assert [pair.chosen for pair in pairs if pair.borrowed] == [NO]
