"""How a policy's refusals begin, and whether its answers begin so: told from their first tokens alone.

Of a harmless prompt it takes one pass over prompt and opening to see whether the greedy answer goes that way,
where writing the answer out and having it judged takes thirty. Answers that turn into a refusal later are not
seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from policies.engines.models import bare_model
from policies.errors import NotEnoughData

_OPENING = 3  # tokens: "I", "'m", "sorry"; by then an answer has declined or not
_COMMON = 0.02  # of all refusals, for an opening to count; each costs a branch of every prompt
_COVERED = 0.6  # of all refusals, for the common openings to speak for them
_BATCH = 16  # prompts


def refusal_openings(rows: Sequence[Mapping[str, Any]], tokenizer: Any) -> list[tuple[int, ...]]:
    """The commonest beginnings of the chosen answers to harmful prompts, as token ids.

    NotEnoughData where there are none, or where hardly two begin alike.
    """
    begun: Counter[tuple[int, ...]] = Counter()
    for row in rows:
        if row["harmful"]:
            ids = tokenizer(row["chosen"], add_special_tokens=False)["input_ids"]
            begun[tuple(ids[:_OPENING])] += 1
    if not begun:
        raise NotEnoughData("target_err: no pair on a harmful prompt shows how a refusal begins")
    common = [ids for ids, count in begun.items() if count >= _COMMON * begun.total()]
    covered = sum(begun[ids] for ids in common) / begun.total()
    if covered < _COVERED:
        raise NotEnoughData(
            f"target_err: refusals begin in too many ways to tell them by it (the common ones are "
            f"{covered:.0%} of {begun.total()}, at least {_COVERED:.0%} are needed); leave target_err out"
        )
    # What follows a shorter one would count twice.
    return sorted(
        ids for ids in common if not any(ids != other and other == ids[: len(other)] for other in common)
    )


@torch.no_grad()
def begins_refusing(
    model: Any, tokenizer: Any, prompts: Sequence[str], openings: Sequence[tuple[int, ...]]
) -> torch.Tensor:
    """(prompts,) Does the greedy answer begin with one of `openings`?

    Each token must be the likeliest after those before it. The probability of an opening as a whole tells
    less: where three beginnings share it, one with 0.4 is where the answer goes.
    """
    bare = bare_model(model)
    device = next(model.parameters()).device
    asked = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        for prompt in prompts
    ]
    found = torch.zeros(len(asked), dtype=torch.bool, device=device)
    order = sorted(range(len(asked)), key=lambda index: len(asked[index]))
    for start in range(0, len(order), _BATCH):
        branches = [(index, opening) for index in order[start : start + _BATCH] for opening in openings]
        width = max(len(asked[index]) + len(opening) for index, opening in branches)
        ids = torch.zeros(len(branches), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        told: list[tuple[int, int]] = []  # row and column of each token of an opening
        for row, (index, opening) in enumerate(branches):
            text = [*asked[index], *opening]
            ids[row, : len(text)] = torch.tensor(text)
            mask[row, : len(text)] = 1
            told += [(row, column) for column in range(len(asked[index]), len(text))]
        rows, columns = torch.tensor(told, device=device).T
        ids = ids.to(device)
        hidden = bare.base_model(
            input_ids=ids, attention_mask=mask.to(device), use_cache=False
        ).last_hidden_state[rows, columns - 1]  # a token is told by the hidden state before it
        missed = bare.get_output_embeddings()(hidden).argmax(-1) != ids[rows, columns]
        begun = torch.ones(len(branches), dtype=torch.bool, device=device)
        begun[rows[missed]] = False
        places = torch.tensor([index for index, _ in branches], device=device)
        found[places[begun]] = True
    return found.cpu()
