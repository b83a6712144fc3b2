"""DPO's batches hold each kind of pair evenly mixed, or rows of similar length; KTO keeps the order."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from policies.training import dpo, kto
from policies.training.trainers import KIND, LENGTH, EvenlyMixed
from tests.unit.policies.training.jobs import job
from tests.unit.policies.training.test_reference import trainer_of


def test_dpo_rows_that_are_not_packed_are_grouped_by_the_tokens_they_really_have(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dpo, "share_prefixes", lambda _model: None)
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


@pytest.mark.parametrize(("harmful", "harmless"), [(37, 35), (10, 50), (1, 9), (0, 8), (8, 0)])
def test_every_stretch_has_its_share_of_each_kind(harmful: int, harmless: int) -> None:
    kinds = [True] * harmful + [False] * harmless
    random.Random(3).shuffle(kinds)
    order = list(EvenlyMixed(kinds, seed=1))
    assert sorted(order) == list(range(len(kinds)))
    for size in (4, 8):
        for start in range(len(order) - size + 1):
            found = sum(kinds[row] for row in order[start : start + size])
            assert abs(found - size * harmful / len(kinds)) <= 1.0 + 1e-9


def test_each_pass_has_another_order_and_the_seed_repeats_them() -> None:
    kinds = [n % 3 == 0 for n in range(60)]
    one, same, other = EvenlyMixed(kinds, seed=1), EvenlyMixed(kinds, seed=1), EvenlyMixed(kinds, seed=2)
    first, second = list(one), list(one)
    assert first != second
    assert [first, second] == [list(same), list(same)]
    assert list(other) != first
    assert len(one) == 60


def test_dpo_takes_its_batches_in_that_order(tiny_model: Path, tmp_path: Path) -> None:
    trainer = trainer_of(job(tmp_path, tiny_model, "dpo", epochs=2), tmp_path)
    sampler = trainer._get_train_sampler()
    assert isinstance(sampler, EvenlyMixed)
    kinds = trainer.train_dataset[KIND]
    assert len(set(kinds)) == 2
    assert list(sampler) == list(EvenlyMixed(kinds, seed=trainer.args.data_seed))
    batches = [batch["input_ids"] for batch in trainer.get_train_dataloader()]
    expected = list(EvenlyMixed(kinds, seed=trainer.args.data_seed))
    for n, batch in enumerate(batches):
        wanted = [trainer.train_dataset[row]["prompt_ids"] for row in expected[4 * n : 4 * n + 4]]
        assert [row[: len(ids)].tolist() for row, ids in zip(batch, wanted, strict=False)] == wanted


def test_the_kl_term_reads_as_much_of_mismatched_answers_as_is_learnt_from(
    tiny_model: Path, tmp_path: Path
) -> None:
    trainer = trainer_of(job(tmp_path, tiny_model, "kto", batch_size=5, answer_tokens=2), tmp_path)
    rows = list(trainer.train_dataset)
    assert max(len(row["completion_ids"]) for row in rows) < 8
    for start in range(0, len(rows), 5):  # the last batch holds two
        batch = rows[start : start + 5]
        answers = [row["completion_ids"] for row in batch]
        assert [row["KL_completion_ids"] for row in batch] == [answers[-1], *answers[:-1]]


def test_what_rows_of_kto_begin_with_is_computed_once_and_changes_neither_loss_nor_gradient(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for shared in (True, False):
        if not shared:
            monkeypatch.setattr(kto, "share_prefixes", lambda _model: None)
        trainer = trainer_of(job(tmp_path, tiny_model, "kto", parent=tiny_adapter), tmp_path)
        batch = next(iter(trainer.get_train_dataloader()))
        loss = trainer.compute_loss(trainer.model, batch)
        loss.backward()
        gradients = [value.grad for value in trainer.model.parameters() if value.grad is not None]
        found.append((loss.detach(), torch.cat([gradient.flatten() for gradient in gradients])))
    (loss, gradient), (other_loss, other_gradient) = found
    torch.testing.assert_close(loss, other_loss, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient, other_gradient, atol=1e-4, rtol=1e-3)
    assert gradient.abs().max() > 0
