"""Answers that the token limit cut are trained on as they are: without an end-of-turn that nobody said.

TRL ends every completion. The policy would learn from it to stop where the samples of training stop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from policies.errors import TrainingError

_ANSWER = "\u27e6answer\u27e7"  # stands in no template


def turn_end(tokenizer: Any) -> list[int]:
    """Token ids that the chat template puts after an assistant's answer; [] where it puts nothing."""
    told = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _ANSWER}]
    text = tokenizer.apply_chat_template(told, tokenize=False)
    return list(tokenizer(text.rpartition(_ANSWER)[2], add_special_tokens=False)["input_ids"])


def without_end(ids: Sequence[int], end: Sequence[int]) -> list[int]:
    """`ids` without `end` at their end. TrainingError where it is not there: nothing is guessed."""
    if not end:
        return list(ids)
    if list(ids[-len(end) :]) != list(end):
        raise TrainingError(
            "an answer that was cut does not end as the chat template ends a turn; raise "
            "sampling.max_new_tokens (and plain_tokens, plain_harmful_tokens, contrast_tokens, "
            "over_cautious_tokens, if set) until answers end by themselves, or use a "
            "model with another template"
        )
    return list(ids[: -len(end)])


def leave_open(
    dataset: Dataset,
    columns: Mapping[str, str],
    tokenizer: Any,
    *,
    first: int | None = None,
    whole_share: float = 0.0,
) -> Dataset:
    """`dataset` without the end in each token column whose flag (`columns`: token column → flag) is set.

    Of an answer longer than `first` tokens only those are left, and it is open, too. `whole_share` of the
    rows, in [0, 1] and evenly spaced, keep all they have.
    """
    end = turn_end(tokenizer)

    def opened(row: dict[str, Any], index: int) -> dict[str, Any]:
        whole = math.floor((index + 1) * whole_share) > math.floor(index * whole_share)
        longest = None if whole else first
        return {tokens: _opened(row[tokens], row[flag], end, longest) for tokens, flag in columns.items()}

    return dataset.map(opened, with_indices=True)


def _opened(ids: Sequence[int], cut: bool, end: Sequence[int], first: int | None) -> list[int]:
    body = without_end(ids, end) if cut else list(ids)
    longest = len(body) if first is None else first + (0 if cut else len(end))
    return body if len(body) <= longest else body[:first]
