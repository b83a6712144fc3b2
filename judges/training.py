"""Fine-tune a judge: LoRA, cross-entropy over the three label tokens, class weights, early stopping.

The same code serves SmolLM2-135M on a CPU and Llama-3.2-3B on a GPU. It leaves an adapter with a card.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from judges.labels import LabelledRow
from judges.local import LabelHead, label_logits
from judges.refusal import is_non_answer
from judges.rubric import Rubric
from judges.shipped import DEVELOPMENT, HELD_OUT, part_of
from policies.cares import LABELS
from policies.digests import digest_of, seed_from
from policies.engines.adapters import ADAPTER_FILES, adapter_digest, settle_config
from policies.engines.decoding import cache_of
from policies.engines.lora import fuse_lora
from policies.engines.models import (
    frozen_modules,
    keep_layers,
    load_base,
    model_digest,
    pick_device,
    plain_attention,
)
from policies.errors import NotEnoughData, TrainingError
from policies.statistics.agreement import codes_of, confusion_matrix, macro_f1

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class JudgeRecipe:
    """Hyperparameters. A batch holds at most `batch_size` rows and `batch_tokens` tokens, padding included.

    `held_out` and `development` are shares of *prompts*; rows of a prompt stay together. `frozen_layers`
    lowest layers get no LoRA: they cost no backward pass, and what a label hangs on is read further up. Of
    the base's layers the lowest `layers` are kept (None: all); the label is read above them.
    """

    epochs: int = 3
    patience: int = 1
    learning_rate: float = 3e-4
    batch_size: int = 16
    batch_tokens: int = 2400
    lora_rank: int = 8
    lora_alpha: int = 16
    frozen_layers: int = 0
    layers: int | None = None
    held_out: float = HELD_OUT
    development: float = DEVELOPMENT
    seed: int = 0


@dataclass(frozen=True)
class Parts:
    train: list[LabelledRow]
    development: list[LabelledRow]
    held_out: list[LabelledRow]


def split_rows(rows: Sequence[LabelledRow], recipe: JudgeRecipe) -> Parts:
    """Train, development and held-out rows, split by base prompt, stable under reordering."""
    parts = Parts([], [], [])
    for row in rows:
        place = part_of(row.group, held_out=recipe.held_out, development=recipe.development)
        getattr(parts, place).append(row)
    for name, part in (
        ("train", parts.train),
        ("development", parts.development),
        ("held-out", parts.held_out),
    ):
        missing = [str(label) for label in LABELS if not any(row.label is label for row in part)]
        if missing:
            raise NotEnoughData(f"judge {name} rows hold no {', '.join(missing)}; label more prompts")
    return parts


def train_judge(
    *,
    model_path: Path,
    parts: Parts,
    rubric: Rubric,
    output_dir: Path,
    recipe: JudgeRecipe,
    report: Report,
    extra_train: Sequence[LabelledRow] = (),
    dtype: str = "auto",
    threads: int | None = None,
) -> dict[str, Any]:
    """Train, keep the epoch with the best development macro-F1, write adapter and card; returns the card.

    `extra_train` are rows for training only (attacks on training prompts). TrainingError where the loss is
    not a number.
    """
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    base, tokenizer = load_base(model_path, dtype=dtype, device=pick_device())
    if recipe.layers is not None:
        keep_layers(base, recipe.layers)
    plain_attention(base)
    head = LabelHead(tokenizer, rubric)
    rows = [row for row in [*parts.train, *extra_train] if not is_non_answer(row.answer)]
    began = time.monotonic()
    model, history = _fit(base, head, rows, parts.development, recipe, report)
    card = {
        "recipe": asdict(recipe),
        "base_digest": model_digest(model_path),
        "rubric": rubric.name,
        "rubric_digest": rubric.digest,
        "data_digest": digest_of(sorted([row.prompt, row.answer, str(row.label)] for row in rows)),
        "rows": {
            "train": dict(Counter(str(row.label) for row in rows)),
            "development": len(parts.development),
            "held_out": len(parts.held_out),
        },
        "history": history,
        "seconds": round(time.monotonic() - began, 1),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }
    _save(model, card, output_dir)
    return card


def _fit(
    base: Any,
    head: LabelHead,
    rows: Sequence[LabelledRow],
    development: Sequence[LabelledRow],
    recipe: JudgeRecipe,
    report: Report,
) -> tuple[Any, list[dict[str, float]]]:
    """(the model at its best epoch, loss and development macro-F1 of each epoch)."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    model = get_peft_model(
        base,
        LoraConfig(
            r=recipe.lora_rank,
            lora_alpha=recipe.lora_alpha,
            lora_dropout=0.0,
            target_modules="all-linear",
            exclude_modules=frozen_modules(base, recipe.frozen_layers),
            task_type="CAUSAL_LM",
        ),
    )
    fuse_lora(model)
    encoded = [(head.encode(*_pair(row))[0], LABELS.index(row.label)) for row in rows]
    steps = _Steps(
        model,
        head,
        plan=[_batches(encoded, recipe, epoch) for epoch in range(recipe.epochs)],
        weights=_class_weights(rows).to(base.device),
        learning_rate=recipe.learning_rate,
        report=report,
    )
    history: list[dict[str, float]] = []
    best: tuple[float, dict[str, Any]] | None = None
    since_best = 0
    for epoch in range(recipe.epochs):
        loss = steps.epoch(epoch)
        score = _macro_f1(model, head, development, recipe.batch_size)
        history.append({"epoch": epoch, "loss": loss, "development_macro_f1": score})
        report({"event": "epoch", **history[-1]})
        if best is None or score > best[0]:
            best = (score, {key: value.clone() for key, value in get_peft_model_state_dict(model).items()})
            since_best = 0
        else:
            since_best += 1
            if since_best > recipe.patience:
                break
    if best is None or not all(bool(value.isfinite().all()) for value in best[1].values()):
        raise TrainingError("the judge's weights are not numbers; lower learning_rate")
    set_peft_model_state_dict(model, best[1])
    return model, history


class _Steps:
    """Optimiser steps over one plan of batches, the learning rate rising and falling once over all of it."""

    def __init__(
        self,
        model: Any,
        head: LabelHead,
        *,
        plan: list[list[list[tuple[list[int], int]]]],
        weights: torch.Tensor,
        learning_rate: float,
        report: Report,
    ) -> None:
        self._model, self._head, self._plan, self._weights = model, head, plan, weights
        self._report = report
        self._trained = [p for p in model.parameters() if p.requires_grad]
        self._optimiser = torch.optim.AdamW(self._trained, lr=learning_rate)
        steps = sum(map(len, plan))
        # The rise must not end at the first step exactly: OneCycleLR then divides by zero (20 steps at 0.05).
        rise = max(0.05, min(0.75, 1.5 / steps))
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimiser, learning_rate, total_steps=steps, pct_start=rise
        )

    def epoch(self, epoch: int) -> float:
        """One pass over the epoch's batches; the mean loss."""
        self._model.train()
        losses = []
        for number, batch in enumerate(self._plan[epoch]):
            losses.append(self._step(batch))
            self._report(
                {
                    "event": "step",
                    "epoch": epoch,
                    "step": number + 1,
                    "of": len(self._plan[epoch]),
                    "loss": losses[-1],
                }
            )
        return sum(losses) / len(losses)

    def _step(self, batch: Sequence[tuple[list[int], int]]) -> float:
        logits = _logits(self._model, self._head, [ids for ids, _ in batch])
        target = torch.tensor([label for _, label in batch], device=logits.device)
        loss = torch.nn.functional.cross_entropy(logits, target, weight=self._weights)
        if not torch.isfinite(loss):
            raise TrainingError("the judge's loss is not a number; lower learning_rate")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._trained, 1.0)
        self._optimiser.step()
        self._optimiser.zero_grad()
        self._schedule.step()
        return loss.item()


def _pair(row: LabelledRow) -> tuple[Any, str]:
    return row.as_item()[0], row.answer


def _class_weights(rows: Sequence[LabelledRow]) -> torch.Tensor:
    """Inverse frequency, mean 1, so that a rare class is not given up."""
    counts = Counter(row.label for row in rows)
    raw = torch.tensor([len(rows) / (len(LABELS) * counts[label]) for label in LABELS])
    return raw / raw.mean()


def _batches(
    encoded: Sequence[tuple[list[int], int]], recipe: JudgeRecipe, epoch: int
) -> list[list[tuple[list[int], int]]]:
    """Shuffled batches of similar length: sorted within pools of twenty batches, so padding stays small."""
    generator = torch.Generator().manual_seed(seed_from(recipe.seed, "order", epoch))
    order = torch.randperm(len(encoded), generator=generator).tolist()
    pool = recipe.batch_size * 20
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        batch: list[int] = []
        for index in sorted(order[start : start + pool], key=lambda index: len(encoded[index][0])):
            full = (len(batch) + 1) * len(encoded[index][0]) > recipe.batch_tokens
            if batch and (full or len(batch) == recipe.batch_size):
                batches.append(batch)
                batch = []
            batch.append(index)
        batches.append(batch)
    return [
        [encoded[index] for index in batches[place]]
        for place in torch.randperm(len(batches), generator=generator).tolist()
    ]


def _logits(model: Any, head: LabelHead, questions: Sequence[list[int]]) -> torch.Tensor:
    # The shared part is computed for one row and its keys and values spread over the batch: the gradient is
    # the same as with the whole question in every row, at half the cost.
    return label_logits(model, head, questions, head.shared, cache_of(model, head.shared, model.device))


@torch.no_grad()
def _macro_f1(model: Any, head: LabelHead, rows: Sequence[LabelledRow], batch_size: int) -> float:
    model.eval()
    truth, judged = [str(row.label) for row in rows], []
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        logits = _logits(model, head, [head.encode(*_pair(row))[0] for row in batch])
        for row, place in zip(batch, logits.argmax(-1).tolist(), strict=True):
            judged.append("Caution" if is_non_answer(row.answer) else str(LABELS[place]))
    return macro_f1(confusion_matrix(codes_of(truth), codes_of(judged)))


def _save(model: Any, card: dict[str, Any], output_dir: Path) -> None:
    staging = output_dir.with_name(f".{output_dir.name}.{os.getpid()}")
    staging.mkdir(parents=True)
    try:
        model.save_pretrained(staging)
        _as_bf16(staging / "adapter_model.safetensors")
        settle_config(staging, base_digest=card["base_digest"])
        for path in staging.iterdir():
            if path.name not in ADAPTER_FILES:
                path.unlink()
        card["adapter_digest"] = adapter_digest(staging)
        (staging / "card.json").write_text(json.dumps(card, indent=1, sort_keys=True))
        shutil.rmtree(output_dir, ignore_errors=True)
        staging.rename(output_dir)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _as_bf16(path: Path) -> None:
    """Halve the file. A judge's adapter answers in the base's type, so a bf16 base loses nothing by it."""
    from safetensors.torch import load_file, save_file

    save_file({name: tensor.to(torch.bfloat16) for name, tensor in load_file(path).items()}, path)
