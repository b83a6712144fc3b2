"""TRL's trainers with habits of ours: cut answers stay open, and batches of DPO are not left to chance.

Their kinds are evenly mixed; where rows are padded, batches hold rows of like length instead: with prompts of
20 to 120 tokens a shuffled batch is a third padding.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from datasets import Dataset, concatenate_datasets
from torch.utils.data import Sampler
from trl import DPOTrainer, KTOTrainer

from policies.preferences.proportions import evenly_mixed
from policies.training.ends import leave_open
from policies.training.shared_prefixes import SharedPrefixes, parting

LENGTH = "length"  # the column that transformers groups by
REFERENCE_COLUMNS = ("ref_chosen_logps", "ref_rejected_logps")  # TRL's
KIND = "harmful"  # the column that says of which kind of prompt a row is


def with_lengths(dataset: Dataset, columns: Sequence[str]) -> Dataset:
    """`dataset` with the tokens of a row's prompt and its longest answer as `length`."""
    return dataset.map(
        lambda row: {LENGTH: len(row["prompt_ids"]) + max(len(row[column]) for column in columns)}
    )


class _FirstTokens:
    """How many first tokens of an answer are learnt from (None: all), but for `whole_share` of them."""

    def __init__(self, *args: Any, first: int | None, whole_share: float, **kwargs: Any) -> None:
        self._first, self._whole_share = first, whole_share  # TRL's own __init__ prepares the dataset
        super().__init__(*args, **kwargs)


def contrasted(dataset: Dataset, decision: int) -> Dataset:
    """`dataset` with rejected answers cut `decision` tokens behind where they part from the chosen ones."""

    def cut(row: dict[str, Any]) -> dict[str, Any]:
        rejected = row["rejected_ids"]
        return {"rejected_ids": rejected[: parting(row["chosen_ids"], rejected) + decision]}

    return dataset.map(cut)


class EvenlyMixed(Sampler[int]):
    """A seeded order in which every stretch has as much of each kind as the whole has.

    Harmful pairs pull a policy towards refusing, harmless ones away from it. By chance a batch may hold
    nothing but one kind, and where the last ones leave the policy is then chance as well.
    """

    def __init__(self, kinds: Sequence[bool], *, seed: int) -> None:
        self._kinds = list(kinds)
        self._random = random.Random(seed)

    def __len__(self) -> int:
        return len(self._kinds)

    def __iter__(self) -> Iterator[int]:
        """Another order each time: one pass over the data."""
        return iter(evenly_mixed(self._kinds, self._random))


class OpenEndedDPOTrainer(_FirstTokens, DPOTrainer):
    """Rows also have `chosen_cut` and `rejected_cut`. Ends go before the reference is asked.

    With `decision` a rejected answer keeps so many tokens from where it parts from the chosen one. The
    reference's log-probabilities count `reference_weight` times; other weights than 1 take them precomputed.
    With `prefixes` those are of the tokens alone that are contrasted.
    """

    def __init__(
        self,
        *args: Any,
        decision: int | None = None,
        reference_weight: float = 1.0,
        prefixes: SharedPrefixes | None = None,
        **kwargs: Any,
    ) -> None:
        self._decision, self._reference_weight, self._prefixes = decision, reference_weight, prefixes
        super().__init__(*args, **kwargs)

    def _prepare_dataset(self, dataset: Any, processing_class: Any, *args: Any, **kwargs: Any) -> Any:
        ready = super()._prepare_dataset(dataset, processing_class, *args, **kwargs)
        columns = {"chosen_ids": "chosen_cut", "rejected_ids": "rejected_cut"}
        ready = leave_open(ready, columns, processing_class, first=self._first, whole_share=self._whole_share)
        if self._decision is not None:
            ready = contrasted(ready, self._decision)
        return with_lengths(ready, list(columns))

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        # TRL counts no more of one answer than the other has, and a rejected one ends with the decision.
        asked = dataset
        if self._decision is not None:
            asked = dataset.map(lambda row: {"chosen_ids": row["chosen_ids"][: len(row["rejected_ids"])]})
            self._keep_lower(dataset, batch_size)
        told = super()._precompute_ref_logps(asked, name, batch_size).select_columns(REFERENCE_COLUMNS)
        if (weight := self._reference_weight) != 1:
            told = told.map(lambda row: {column: row[column] * weight for column in REFERENCE_COLUMNS})
        return concatenate_datasets([dataset, told], axis=1)

    def _keep_lower(self, dataset: Dataset, batch_size: int) -> None:
        """Chosen answers are learnt from whole, so the lower layers are run over them once and for all."""
        if self._prefixes is None:
            return
        for batch in dataset.iter(batch_size):
            given = zip(batch["prompt_ids"], batch["chosen_ids"], batch["rejected_ids"], strict=True)
            rows, openings = [], []
            for prompt, chosen, rejected in given:
                rows += [prompt + chosen, prompt + rejected]
                openings += [len(prompt) + len(rejected)] * 2
            self._prefixes.keep_lower(rows, openings)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns: list[str] = [*dict.fromkeys([*self._signature_columns, LENGTH, KIND])]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy != "random":
            return super()._get_train_sampler(rows)
        return EvenlyMixed(rows[KIND], seed=self.args.data_seed)


class OpenEndedKTOTrainer(_FirstTokens, KTOTrainer):
    """Rows also have `cut`. They stay in their order, since the KL term pairs neighbours.

    That term sets a prompt beside its neighbour's answer as it is learnt from: rewards of an answer's first
    tokens are measured against the divergence of as many.
    """

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        ready = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        ready = leave_open(
            ready,
            {"completion_ids": "cut"},
            processing_class,
            first=self._first,
            whole_share=self._whole_share,
        )
        return mismatched(ready, args.per_device_train_batch_size) if self.calculate_KL else ready


def mismatched(dataset: Dataset, batch_size: int) -> Dataset:
    """`dataset` with each row's answer also at the next row of its batch, for the KL term (as in TRL)."""

    def moved_on(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        answers = batch["completion_ids"]
        return {"KL_completion_ids": [answers[-1], *answers[:-1]]}

    return dataset.map(moved_on, batched=True, batch_size=batch_size)
