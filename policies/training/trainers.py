"""TRL's trainers with two habits of ours: cut answers stay open, and DPO batches hold rows of like length.

Padding costs as much as text: with prompts of 20 to 120 tokens a shuffled batch is a third padding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from trl import DPOTrainer, KTOTrainer

from policies.training.ends import leave_open

LENGTH = "length"  # the column that transformers groups by


def with_lengths(dataset: Dataset, columns: Sequence[str]) -> Dataset:
    """`dataset` with the tokens of a row's prompt and its longest answer as `length`."""
    return dataset.map(
        lambda row: {LENGTH: len(row["prompt_ids"]) + max(len(row[column]) for column in columns)}
    )


class _FirstTokens:
    """`first`: token column → how many first tokens of its answers are learnt from; None or absent: all."""

    def __init__(self, *args: Any, first: Mapping[str, int | None], **kwargs: Any) -> None:
        self._first = first  # the dataset is prepared by TRL's own __init__
        super().__init__(*args, **kwargs)


class OpenEndedDPOTrainer(_FirstTokens, DPOTrainer):
    """Rows also have `chosen_cut` and `rejected_cut`. Ends go before the reference is asked."""

    def _prepare_dataset(self, dataset: Any, processing_class: Any, *args: Any, **kwargs: Any) -> Any:
        ready = super()._prepare_dataset(dataset, processing_class, *args, **kwargs)
        columns = {"chosen_ids": "chosen_cut", "rejected_ids": "rejected_cut"}
        return with_lengths(leave_open(ready, columns, processing_class, first=self._first), list(columns))

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns: list[str] = [*dict.fromkeys([*self._signature_columns, LENGTH])]


class OpenEndedKTOTrainer(_FirstTokens, KTOTrainer):
    """Rows also have `cut`. The KL term's mismatched completions keep their ends: no gradient flows there.

    Rows stay in their order, since that term pairs neighbours.
    """

    def _prepare_dataset(self, dataset: Any, processing_class: Any, *args: Any, **kwargs: Any) -> Any:
        ready = super()._prepare_dataset(dataset, processing_class, *args, **kwargs)
        return leave_open(ready, {"completion_ids": "cut"}, processing_class, first=self._first)
