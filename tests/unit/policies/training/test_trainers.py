"""Batches hold rows of similar length, and every row once an epoch."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.training.trainers import LENGTH
from tests.unit.policies.training.jobs import job
from tests.unit.policies.training.test_reference import trainer_of


@pytest.mark.parametrize(
    ("method", "answers"), [("dpo", ["chosen_ids", "rejected_ids"]), ("kto", ["completion_ids"])]
)
def test_rows_are_grouped_by_the_tokens_they_really_have(
    tiny_model: Path, tmp_path: Path, method: str, answers: list[str]
) -> None:
    trainer = trainer_of(job(tmp_path, tiny_model, method, epochs=2, batch_size=2), tmp_path)
    rows = list(trainer.train_dataset)
    assert [row[LENGTH] for row in rows] == [
        len(row["prompt_ids"]) + max(len(row[one]) for one in answers) for row in rows
    ]
    sampler = trainer._get_train_sampler()
    assert type(sampler).__name__ == "LengthGroupedSampler"
    assert sorted(sampler) == list(range(len(rows))), "no row is left out or seen twice"
    batches = [batch["input_ids"].shape[0] for batch in trainer.get_train_dataloader()]
    assert sum(batches) == len(rows) * (2 if method == "dpo" else 1)
