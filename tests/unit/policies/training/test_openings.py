"""How refusals begin, and which answers begin so: measured as the plain model measures it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from policies.engines.models import load_base
from policies.errors import NotEnoughData
from policies.training.openings import begins_refusing, refusal_openings
from policies.training.shared_prefixes import share_prefixes


class Words:
    """A tokenizer whose tokens are words."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [self._known.setdefault(word, len(self._known)) for word in text.split()]}

    def ids(self, text: str) -> tuple[int, ...]:
        return tuple(self(text, add_special_tokens=False)["input_ids"])


def refusals(*texts: str) -> list[dict[str, Any]]:
    return [{"chosen": text, "harmful": True} for text in texts]


def test_openings_are_the_common_beginnings_of_refusals_and_of_nothing_else() -> None:
    words = Words()
    rows = [
        *refusals(*["I am sorry, but no."] * 60, *["No, I cannot help."] * 39, "Rarely said like this."),
        {"chosen": "Vaccines are safe and tested.", "harmful": False},
    ]
    assert set(refusal_openings(rows, words)) == {words.ids("I am sorry,"), words.ids("No, I cannot")}


def test_an_opening_that_begins_another_counts_once() -> None:
    words = Words()
    rows = refusals(*["No."] * 5, *["No. I cannot help."] * 5)
    assert refusal_openings(rows, words) == [words.ids("No.")]


def test_refusals_that_all_begin_otherwise_are_refused() -> None:
    rows = refusals(*(f"{n} {n} {n} says no" for n in range(100)))
    with pytest.raises(NotEnoughData, match="too many ways"):
        refusal_openings(rows, Words())


def test_no_refusal_at_all_is_refused() -> None:
    with pytest.raises(NotEnoughData, match="no pair on a harmful prompt"):
        refusal_openings([{"chosen": "Vaccines are safe.", "harmful": False}], Words())


@pytest.mark.parametrize("packed", [False, True])
def test_a_refusal_is_begun_where_the_plain_model_goes_that_way_token_by_token(
    tiny_model: Path, packed: bool
) -> None:
    model, tokenizer = load_base(tiny_model, dtype="float32", device="cpu")
    prompts = ["Is this safe?", "How do vaccines work, and for how long do they last?"]
    prompts += [f"question {n}?" for n in range(30)]  # two batches
    greedy = []
    for prompt in prompts:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        told: list[int] = []
        for _ in range(3):
            with torch.no_grad():
                told.append(int(model(torch.tensor([ids + told])).logits[0, -1].argmax()))
        greedy.append(tuple(told))
    one, other = greedy[0], greedy[1]
    openings = [one, other[:1], (*greedy[2][:2], greedy[2][2] + 1)]
    expected = [any(told[: len(opening)] == opening for opening in openings) for told in greedy]
    assert 2 <= sum(expected) < len(prompts), "both kinds must occur"
    if packed:
        assert share_prefixes(model)
    assert begins_refusing(model, tokenizer, prompts, openings).tolist() == expected
