"""How refusals begin, and which answers are refusals: told as the plain model tells it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from policies.engines.models import load_base, plain_attention
from policies.errors import NotEnoughData
from policies.training.refusing import refusal_openings, refuses, wanted_of_harmful
from policies.training.shared_prefixes import share_prefixes


class Words:
    """A tokenizer whose tokens are words."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [self._known.setdefault(word, len(self._known)) for word in text.split()]}

    def decode(self, ids: list[int]) -> str:
        return " ".join(list(self._known)[one] for one in ids)


def test_openings_are_the_common_beginnings_of_refusals_and_of_nothing_else() -> None:
    words = Words()
    said = [*["I am sorry, but no."] * 60, *["No, I cannot help."] * 39, "Rarely said like this."]
    assert set(refusal_openings(said, words)) == {"I am sorry, but", "No, I cannot help."}


def test_refusals_that_all_begin_otherwise_are_refused() -> None:
    with pytest.raises(NotEnoughData, match="too many ways"):
        refusal_openings([f"{n} {n} {n} says no" for n in range(100)], Words())


def test_an_opening_that_would_stand_in_any_answer_is_none() -> None:
    with pytest.raises(NotEnoughData, match="too many ways"):
        refusal_openings([*["No"] * 60, *["I am sorry, but no."] * 40], Words())


def test_no_refusal_at_all_is_refused() -> None:
    with pytest.raises(NotEnoughData, match="no answer wanted of a harmful prompt"):
        refusal_openings([], Words())


def test_what_is_wanted_of_harmful_prompts_is_read_from_pairs_and_from_examples() -> None:
    pairs = [
        {"chosen": "I can't help.", "rejected": "Take ten.", "harmful": True},
        {"chosen": "Vaccines are safe.", "rejected": "I can't help.", "harmful": False},
    ]
    examples = [
        {"completion": "I can't help.", "desirable": True, "harmful": True},
        {"completion": "Take ten.", "desirable": False, "harmful": True},
        {"completion": "Vaccines are safe.", "desirable": True, "harmful": False},
    ]
    assert wanted_of_harmful(pairs) == wanted_of_harmful(examples) == ["I can't help."]


@pytest.mark.parametrize("packed", [False, True])
def test_a_prompt_is_refused_where_the_plain_model_says_an_opening_sooner_or_later(
    tiny_model: Path, packed: bool
) -> None:
    model, tokenizer = load_base(tiny_model, dtype="float32", device="cpu")
    prompts = ["Is this safe?", "How do vaccines work, and for how long do they last?"]
    prompts += [f"question {n}?" for n in range(90)]  # two batches
    said = []
    for prompt in prompts:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        told = model.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False, pad_token_id=0)
        said.append(tokenizer.decode(told[0, len(ids) :]))
    openings = [said[0][:6], said[1][10:16]]
    expected = [any(opening in text for opening in openings) for text in said]
    assert 2 <= sum(expected) < len(prompts), "both kinds must occur"
    if packed:
        plain_attention(model)
        assert share_prefixes(model)
    assert refuses(model, tokenizer, prompts, openings) == expected
    ids = torch.tensor([[5, 6, 7], [5, 6, 8]])
    if packed:
        assert "forward" in vars(model.base_model), "training goes on as it did"
    model(input_ids=ids, attention_mask=torch.ones_like(ids))
