"""Whether a policy that is being trained refuses, without a judge: its own refusals tell how they begin.

Of a small policy's refusals of harmless prompts up to a half begin otherwise and turn ("You're right, I'm
sorry, but I can't help with that"), so the answers are written out and looked through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from policies.engines.decoding import decode, decodes_plainly, end_tokens, likeliest
from policies.engines.models import bare_model
from policies.engines.reserved_cache import roomy_cache
from policies.errors import NotEnoughData
from policies.training.shared_prefixes import each_row_alone

_OPENING = 4  # tokens: "I", "'m", " sorry", ","
_LEAST = 3  # characters; what is shorter stands in any answer
_COMMON = 0.02  # of all refusals, for an opening to count
_COVERED = 0.6  # of all refusals, for the common openings to speak for them
_ANSWER = 24  # tokens; one that has not declined by then seldom does
_BATCH = 80  # prompts


def refusal_openings(rows: Sequence[Mapping[str, Any]], tokenizer: Any) -> list[str]:
    """The commonest beginnings of the chosen answers to harmful prompts, as text.

    Chosen answers that are cautions count as well; they are not chosen under `prefer_refusals`.

    NotEnoughData where there are none, or where hardly two begin alike.
    """
    begun: Counter[str] = Counter()
    for row in rows:
        if row["harmful"]:
            ids = tokenizer(row["chosen"], add_special_tokens=False)["input_ids"]
            # A character of several tokens may have been cut in two.
            begun[tokenizer.decode(ids[:_OPENING]).rstrip("\ufffd").strip()] += 1
    if not begun:
        raise NotEnoughData("target_err: no pair on a harmful prompt shows how a refusal begins")
    common = [
        text for text, count in begun.items() if count >= _COMMON * begun.total() and len(text) >= _LEAST
    ]
    covered = sum(begun[text] for text in common) / begun.total()
    if covered < _COVERED:
        raise NotEnoughData(
            f"target_err: refusals begin in too many ways to tell them by it (the common ones are "
            f"{covered:.0%} of {begun.total()}, at least {_COVERED:.0%} are needed); leave target_err out"
        )
    return sorted(common)


def refuses(model: Any, tokenizer: Any, prompts: Sequence[str], openings: Sequence[str]) -> list[bool]:
    """Of each prompt: does one of `openings` stand anywhere in the first tokens of its greedy answer?"""
    told = first_words(model, tokenizer, prompts)
    return [any(opening in text for opening in openings) for text in told]


@torch.no_grad()
def first_words(model: Any, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
    """The first tokens of the greedy answer to each prompt, as text."""
    bare = bare_model(model)
    told = [""] * len(prompts)
    # Padding costs as much as text.
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    with each_row_alone(bare):
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            asked = tokenizer.apply_chat_template(
                [[{"role": "user", "content": prompts[index]}] for index in batch],
                add_generation_prompt=True,
                padding=True,
                return_dict=True,
                return_tensors="pt",
                tokenizer_kwargs={"padding_side": "left"},
            ).to(bare.device)
            answers = _answers(bare, tokenizer, asked["input_ids"], asked["attention_mask"])
            for index, text in zip(batch, tokenizer.batch_decode(answers), strict=True):
                told[index] = text
    return told


def _answers(model: Any, tokenizer: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Greedy answers (rows, tokens) to rows padded on the left."""
    if decodes_plainly(model):
        return decode(
            model,
            ids,
            mask,
            roomy_cache(len(model.base_model.layers), room=ids.shape[1] + _ANSWER),
            limit=_ANSWER,
            choose=likeliest,
            ends=end_tokens(model, tokenizer),
            pad=tokenizer.pad_token_id,
        )
    told: torch.Tensor = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=_ANSWER,
        do_sample=False,
        use_cache=True,
        pad_token_id=tokenizer.pad_token_id,
    )
    return told[:, ids.shape[1] :]
