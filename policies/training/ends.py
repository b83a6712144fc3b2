"""Answers that the token limit cut are trained on as they are: without an end-of-turn that nobody said.

TRL ends every completion. The policy would learn from it to stop where the samples of training stop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from trl import DPOTrainer, KTOTrainer


def without_end(ids: Sequence[int], end: int | None) -> list[int]:
    """`ids` up to the last `end` token; all of them where there is none, or nothing before it."""
    places = [place for place, token in enumerate(ids) if token == end]
    return list(ids[: places[-1]]) if places and places[-1] else list(ids)


def leave_open(dataset: Dataset, columns: Mapping[str, str], end: int | None) -> Dataset:
    """`dataset` without the end in each token column whose flag (`columns`: token column → flag) is set."""

    def opened(row: dict[str, Any]) -> dict[str, Any]:
        return {
            tokens: without_end(row[tokens], end) if row[flag] else row[tokens]
            for tokens, flag in columns.items()
        }

    return dataset.map(opened)


class OpenEndedDPOTrainer(DPOTrainer):
    """Rows also have `chosen_cut` and `rejected_cut`. Ends go before the reference is asked."""

    def _prepare_dataset(self, dataset: Any, processing_class: Any, *args: Any, **kwargs: Any) -> Any:
        ready = super()._prepare_dataset(dataset, processing_class, *args, **kwargs)
        columns = {"chosen_ids": "chosen_cut", "rejected_ids": "rejected_cut"}
        return leave_open(ready, columns, processing_class.eos_token_id)


class OpenEndedKTOTrainer(KTOTrainer):
    """Rows also have `cut`. The KL term's mismatched completions keep their ends: no gradient flows there."""

    def _prepare_dataset(self, dataset: Any, processing_class: Any, *args: Any, **kwargs: Any) -> Any:
        ready = super()._prepare_dataset(dataset, processing_class, *args, **kwargs)
        return leave_open(ready, {"completion_ids": "cut"}, processing_class.eos_token_id)
