"""Batches of DPO hold rows of similar length, each row once an epoch; KTO keeps the rows' order."""

from __future__ import annotations

from pathlib import Path

from policies.training.trainers import LENGTH
from tests.unit.policies.training.jobs import job
from tests.unit.policies.training.test_reference import trainer_of


def test_dpo_rows_are_grouped_by_the_tokens_they_really_have(tiny_model: Path, tmp_path: Path) -> None:
    trainer = trainer_of(job(tmp_path, tiny_model, "dpo", epochs=2, batch_size=2), tmp_path)
    rows = list(trainer.train_dataset)
    assert [row[LENGTH] for row in rows] == [
        len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in rows
    ]
    sampler = trainer._get_train_sampler()
    assert type(sampler).__name__ == "LengthGroupedSampler"
    assert sorted(sampler) == list(range(len(rows))), "no row is left out or seen twice"
    assert sum(batch["input_ids"].shape[0] for batch in trainer.get_train_dataloader()) == 2 * len(rows)


def test_kto_rows_keep_their_order_since_its_kl_term_pairs_neighbours(
    tiny_model: Path, tmp_path: Path
) -> None:
    trainer = trainer_of(job(tmp_path, tiny_model, "kto", batch_size=4), tmp_path)
    assert type(trainer._get_train_sampler()).__name__ == "SequentialSampler"
