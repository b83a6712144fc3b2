"""The reference is the deployed policy: the base for a first candidate, the parent adapter for a later one.

Trainers have used the base in silence when an adapter was continued (trl#4723, trl#6591), so that is measured
on log-probabilities: the trainer's reference against the parent's own, before and after training.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import DPOTrainer

from policies.engines.models import load_base, with_adapter
from policies.training.core import Progress, _in_fp32, load_policy
from policies.training.recipe import TrainingJob
from tests.unit.policies.training.jobs import ROWS, job


def trainer_of(job: TrainingJob, folder: Path) -> Any:
    build: Callable[..., Any]
    if job.recipe.method == "dpo":
        from policies.training.dpo import build
    else:
        from policies.training.kto import build
    model, tokenizer, lora = load_policy(job)
    quiet = Progress(lambda _event: None)
    trainer = build(job, model, tokenizer, lora, ROWS[job.recipe.method], folder / "scratch", quiet)
    _in_fp32(trainer.model)
    return trainer


def reference(trainer: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    if "ref_chosen_logps" in batch:  # computed once, before training
        return torch.cat([batch["ref_chosen_logps"], batch["ref_rejected_logps"]])
    found = trainer.compute_ref_log_probs(trainer.model, batch)
    return torch.cat(found) if isinstance(trainer, DPOTrainer) else found[0]


@torch.no_grad()
def own(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Log-probabilities of the completions, summed, by the model alone."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    chances = logits[:, :-1].log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
    return (chances * batch["completion_mask"][:, 1:]).sum(-1)


@pytest.mark.parametrize(("method", "epochs"), [("dpo", 1), ("dpo", 2), ("kto", 1), ("kto", 2)])
@pytest.mark.parametrize("continued", [False, True], ids=["first", "continued"])
def test_reference_is_the_deployed_policy(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path, method: str, epochs: int, continued: bool
) -> None:
    parent = tiny_adapter if continued else None
    trainer = trainer_of(job(tmp_path, tiny_model, method, parent=parent, epochs=epochs), tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))
    base, _ = load_base(tiny_model, dtype="float32", device="cpu")
    of_base = own(base, batch)
    deployed = own(with_adapter(base, tiny_adapter), batch) if continued else of_base

    torch.testing.assert_close(reference(trainer, batch), deployed, atol=1e-3, rtol=1e-4)
    if continued:
        assert (deployed - of_base).abs().max() > 0.5, "the two possible references must differ"

    trainer.train()
    torch.testing.assert_close(reference(trainer, batch), deployed, atol=1e-3, rtol=1e-4)
    trainer.model.set_adapter("default")
    assert (own(trainer.model.eval(), batch) - deployed).abs().max() > 0.1, (
        "training must have moved the policy"
    )


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_reference_counts_as_much_as_its_weight(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path, weight: float, epochs: int
) -> None:
    asked = job(
        tmp_path, tiny_model, "dpo", parent=tiny_adapter, epochs=epochs, reference_weight=weight, beta=0.3
    )
    trainer = trainer_of(asked, tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))
    base, _ = load_base(tiny_model, dtype="float32", device="cpu")
    chosen, rejected = own(with_adapter(base, tiny_adapter), batch).chunk(2)
    # Untrained, the policy is its own reference: what the weight does not take off is left of its log-ratio.
    left = (1 - weight) * (chosen - rejected)
    tokens = batch["completion_mask"][:4, 1:].sum()
    nll = -chosen.sum() / tokens
    expected = torch.nn.functional.softplus(-0.3 * left).mean() + trainer.args.loss_weights[1] * nll
    torch.testing.assert_close(
        trainer.compute_loss(trainer.model, batch).detach(), expected, atol=1e-3, rtol=1e-4
    )
    assert left.abs().max() > 0.5, "the weight must matter"


@pytest.mark.parametrize("frozen", [0, 1])
def test_reference_of_the_contrasted_tokens_alone_is_that_of_whole_answers(
    tiny_model: Path, tmp_path: Path, frozen: int
) -> None:
    asked = job(tmp_path, tiny_model, "dpo", epochs=2, decision_tokens=1, frozen_layers=frozen)
    trainer = trainer_of(asked, tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))
    chosen, rejected = batch["completion_mask"].sum(1).chunk(2)
    assert (chosen > rejected).any(), "of some answers there is more than is contrasted"
    whole = torch.cat(DPOTrainer.compute_ref_log_probs(trainer, trainer.model, batch))
    torch.testing.assert_close(reference(trainer, batch), whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_scoring_completions_only_changes_neither_loss_nor_gradient(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    from trl.trainer import utils

    found = []
    for everything in (True, False):
        monkeypatch.setattr(utils, "_use_triton", lambda _device, all_positions=everything: not all_positions)
        trainer = trainer_of(job(tmp_path, tiny_model, method, parent=tiny_adapter), tmp_path)
        loss = trainer.compute_loss(trainer.model, next(iter(trainer.get_train_dataloader())))
        loss.backward()
        gradients = [value.grad for value in trainer.model.parameters() if value.grad is not None]
        found.append((loss.detach(), torch.cat([gradient.flatten() for gradient in gradients])))
    (loss, gradient), (other_loss, other_gradient) = found
    torch.testing.assert_close(loss, other_loss, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient, other_gradient, atol=1e-4, rtol=1e-3)
    assert gradient.abs().max() > 0


def test_only_the_adapter_is_trained_and_in_fp32(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    trainer = trainer_of(job(tmp_path, tiny_model, "dpo", parent=tiny_adapter), tmp_path)
    trained = {name: value for name, value in trainer.model.named_parameters() if value.requires_grad}
    assert trained
    assert all("lora_" in name and ".default." in name for name in trained)
    assert {value.dtype for value in trained.values()} == {torch.float32}


def test_adapter_stays_fp32_on_a_bf16_base(tiny_model: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    for parent in (None, tiny_adapter):
        asked = replace(job(tmp_path, tiny_model, "dpo", parent=parent), dtype="bfloat16")
        trainer = trainer_of(asked, tmp_path)
        types = {(value.requires_grad, value.dtype) for value in trainer.model.parameters()}
        assert (True, torch.float32) in types
        assert (False, torch.bfloat16) in types
        assert (True, torch.bfloat16) not in types
