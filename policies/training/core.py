"""What KTO and DPO share: the model to be moved, its frozen reference, progress, what is kept of a run."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import TrainerCallback, set_seed

from policies.engines.adapters import ADAPTER_FILES, adapter_digest, settle_config
from policies.engines.lora import fuse_lora
from policies.engines.models import frozen_modules, load_base, pick_device, plain_attention
from policies.errors import TrainingError
from policies.training.lean import LeanSearch
from policies.training.log_probs import score_tokens
from policies.training.recipe import Recipe, TrainingJob

Report = Callable[[dict[str, Any]], None]


def print_report(event: dict[str, Any]) -> None:
    """One JSON object a line on stdout: the parent process reads it as progress."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class Progress(TrainerCallback):
    """Reports each step's loss and keeps the curve."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.curve: list[dict[str, float]] = []

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        kept = {
            key: float(value)
            for key, value in (logs or {}).items()
            if key in ("loss", "grad_norm", "rewards/margins", "rewards/accuracies", "kl")
        }
        if "loss" not in kept:
            return
        self.curve.append({"step": state.global_step, **kept})
        self._report(
            {"event": "step", "step": state.global_step, "of": state.max_steps, "loss": kept["loss"]}
        )


def score_completions_only() -> None:
    """Let TRL project only the completions' positions through the vocabulary on a CPU too, and once each.

    Off GPUs it scores every position, prompts and padding included, to spare compilers that dislike new
    shapes; an eager CPU has none, and the vocabulary is half of a small model's step. Losses are the same.
    """
    from trl.trainer import utils

    if pick_device() == "cpu" and hasattr(utils, "_use_triton"):
        utils._use_triton = lambda _device: True
    if pick_device() == "cpu" and hasattr(utils, "_ChunkedLogProbFunction"):
        utils._ChunkedLogProbFunction = SimpleNamespace(apply=score_tokens)


def load_policy(job: TrainingJob) -> tuple[Any, Any, LoraConfig | None]:
    """(model, tokenizer, LoRA configuration or None).

    Without a parent adapter the trainer wraps the base in a fresh LoRA, and its reference is the base. With
    one, the parent goes on being trained and the trainer keeps a frozen copy of it as the reference, so that
    the reference is the deployed policy in both cases. Adapter weights are fp32: under AdamW bf16 ones lose
    updates.
    """
    model, tokenizer = load_base(Path(job.base_path), dtype=job.dtype, device=pick_device())
    plain_attention(model)
    recipe = job.recipe
    if job.parent_adapter is None:
        modules = recipe.target_modules
        return (
            model,
            tokenizer,
            LoraConfig(
                r=recipe.lora_rank,
                lora_alpha=recipe.lora_alpha,
                lora_dropout=0.0,
                target_modules=modules if isinstance(modules, str) else list(modules),
                exclude_modules=frozen_modules(model, recipe.frozen_layers),
                task_type="CAUSAL_LM",
            ),
        )
    parent = PeftModel.from_pretrained(model, job.parent_adapter, is_trainable=True, use_safetensors=True)
    fuse_lora(parent)  # before its reference is computed, so that both are rounded alike
    return parent, tokenizer, None


def common_arguments(recipe: Recipe, *, scratch: Path, seed: int) -> dict[str, Any]:
    """Trainer arguments of both methods. No checkpoints: a candidate takes minutes and is trained anew."""
    return {
        "output_dir": str(scratch),
        "per_device_train_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.gradient_accumulation,
        "num_train_epochs": recipe.epochs,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": recipe.warmup_steps,
        "max_grad_norm": recipe.max_grad_norm,
        "max_length": recipe.max_length,
        "beta": recipe.beta,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # on, a loss that is not a number is told as 0
        "save_strategy": "no",
        "report_to": [],
        "seed": seed,
        "data_seed": seed,
        "use_cpu": pick_device() == "cpu",
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
    }


def run(job: TrainingJob, build: Callable[..., Any], report: Report = print_report) -> dict[str, Any]:
    """Train one candidate and leave adapter and card in `job.output_dir`; returns the card.

    The folder appears whole or not at all. Raises TrainingError where the loss is not a number.
    """
    if job.threads:
        torch.set_num_threads(job.threads)
    set_seed(job.seed)
    score_completions_only()
    output = Path(job.output_dir)
    output.parent.mkdir(parents=True, exist_ok=True)
    for left in output.parent.glob(f".{output.name}.*"):  # by a process that was killed; one trains at a time
        shutil.rmtree(left, ignore_errors=True)
    staging = output.with_name(f".{output.name}.{os.getpid()}")
    staging.mkdir()
    try:
        rows = [json.loads(line) for line in Path(job.preferences_path).read_text().splitlines()]
        model, tokenizer, lora = load_policy(job)
        progress = Progress(report)
        trainer = build(job, model, tokenizer, lora, rows, staging / "scratch", progress)
        _in_fp32(trainer.model)
        search = _lean_search(job, trainer, tokenizer, rows)
        fuse_lora(trainer.model)
        report({"event": "start", "rows": len(rows)})
        began = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - began
        losses = [point["loss"] for point in progress.curve]
        if not losses or not all(map(math.isfinite, losses)) or not _is_finite(trainer.model):
            raise TrainingError(f"{job.recipe.method}: the loss is not a number; lower learning_rate")
        lean = search.settle(report) if search else None
        if lean and not _is_finite(trainer.model):  # what is no number refuses nothing
            raise TrainingError(f"{job.recipe.method}: leaning, the loss is not a number; unset target_err")
        trainer.model.save_pretrained(staging, selected_adapters=["default"])
        _tidy(staging, job)
        card = _card(job, rows, progress.curve, seconds, adapter_digest(staging))
        card["lean"] = lean.to_json() if lean else None
        (staging / "card.json").write_text(json.dumps(card, indent=1, sort_keys=True))
        for path in staging.iterdir():
            _sync(path)
        if output.exists():
            shutil.rmtree(output)
        staging.rename(output)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    report({"event": "done", "adapter_digest": card["adapter_digest"], "seconds": seconds})
    return card


def _lean_search(
    job: TrainingJob, trainer: Any, tokenizer: Any, rows: list[dict[str, Any]]
) -> LeanSearch | None:
    target = job.recipe.target_err
    if target is None:
        return None
    held_out = Path(job.held_out_path).read_text().splitlines() if job.held_out_path else []
    harmless = [json.loads(line)["prompt"] for line in held_out]
    return LeanSearch(
        trainer,
        tokenizer,
        rows=rows,
        harmless=harmless,
        target=target,
        least=job.recipe.least_err or 0.0,
    )


def _in_fp32(model: Any) -> None:
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            parameter.data = parameter.data.float()


def _is_finite(model: Any) -> bool:
    """The last step's loss is told before its weights are changed, so they are looked at, too."""
    return all(bool(value.isfinite().all()) for value in model.parameters() if value.requires_grad)


def _tidy(folder: Path, job: TrainingJob) -> None:
    """Leave the two adapter files and nothing else."""
    settle_config(folder, base_digest=job.base_digest)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in ADAPTER_FILES:
            path.unlink()


def _card(
    job: TrainingJob, rows: list[dict[str, Any]], curve: list[dict[str, float]], seconds: float, digest: str
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "method": job.recipe.method,
        "recipe": asdict(job.recipe),
        "recipe_digest": job.recipe.digest,
        "seed": job.seed,
        "rows": len(rows),
        "preferences_digest": job.preferences_digest,
        "base_digest": job.base_digest,
        "parent_digest": job.parent_digest,
        "reference_digest": job.parent_digest,
        "adapter_digest": digest,
        "losses": curve,
        "seconds": round(seconds, 2),
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "peft")},
    }


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
