"""Fine-tuning a judge on a tiny random model: it learns, keeps its best epoch, leaves a whole adapter."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from judges.labels import LabelledRow
from judges.local import LocalJudge
from judges.rubric import Rubric
from judges.shipped import part_of
from judges.training import JudgeRecipe, Parts, _batches, _class_weights, _Steps, split_rows, train_judge
from policies.cares import LABELS, Label
from policies.engines.adapters import ADAPTER_FILES, adapter_digest
from policies.engines.models import model_digest
from policies.errors import NotEnoughData, TrainingError

WORDS = {Label.ACCEPT: "Take two tablets.", Label.CAUTION: "Ask a doctor.", Label.REFUSE: "I won't say."}
RUBRIC = Rubric("short", "Judge.", "What does it do?\n\n", "One label.")


def rows(count: int) -> list[LabelledRow]:
    return [
        LabelledRow(f"question {n}", f"{words} {n}", label)
        for n in range(count)
        for label, words in WORDS.items()
    ]


@pytest.fixture(scope="module")
def trained(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path, list[Any]]:
    output = tmp_path_factory.mktemp("judge") / "adapter"
    events: list[Any] = []
    recipe = JudgeRecipe(epochs=4, patience=4, learning_rate=2e-2, lora_rank=4, held_out=0.2, development=0.2)
    card = train_judge(
        model_path=tiny_model,
        parts=split_rows(rows(40), recipe),
        rubric=RUBRIC,
        output_dir=output,
        recipe=recipe,
        report=events.append,
        dtype="float32",
    )
    return card, output, events


def test_loss_falls(trained: tuple[dict[str, Any], Path, list[Any]]) -> None:
    card, _, events = trained
    losses = [epoch["loss"] for epoch in card["history"]]
    assert losses[-1] < 0.7 * losses[0]
    steps = [event for event in events if event["event"] == "step"]
    assert steps[0]["loss"] > steps[-1]["loss"]
    assert all(event["step"] <= event["of"] for event in steps)


def test_what_is_left_is_an_adapter_with_its_card(
    tiny_model: Path, trained: tuple[dict[str, Any], Path, list[Any]]
) -> None:
    card, output, _ = trained
    assert {path.name for path in output.iterdir()} == {*ADAPTER_FILES, "card.json"}
    assert json.loads((output / "card.json").read_text()) == json.loads(json.dumps(card))
    assert card["adapter_digest"] == adapter_digest(output)
    assert card["base_digest"] == model_digest(tiny_model)
    assert card["rubric_digest"] == RUBRIC.digest
    assert sum(card["rows"]["train"].values()) + card["rows"]["development"] + card["rows"]["held_out"] == 120
    config = json.loads((output / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == f"sha256:{card['base_digest']}"
    assert [path for path in output.parent.iterdir() if path != output] == [], "nothing half-made may stay"


def test_saved_adapter_judges_as_the_best_epoch_did(
    tiny_model: Path, trained: tuple[dict[str, Any], Path, list[Any]]
) -> None:
    card, output, _ = trained
    recipe = JudgeRecipe(held_out=0.2, development=0.2)
    development = split_rows(rows(40), recipe).development
    judge = LocalJudge(name="j", model_path=tiny_model, rubric=RUBRIC, adapter_path=output, dtype="float32")
    verdicts = list(judge.judge([row.as_item() for row in development]))
    right = sum(verdict.label is row.label for verdict, row in zip(verdicts, development, strict=True))
    best = max(epoch["development_macro_f1"] for epoch in card["history"])
    assert right / len(development) == pytest.approx(best, abs=0.1)


def test_judge_of_fewer_layers_is_trained_and_used_as_such(tiny_model: Path, tmp_path: Path) -> None:
    recipe = JudgeRecipe(epochs=4, patience=4, learning_rate=2e-2, layers=1, held_out=0.2, development=0.2)
    parts = split_rows(rows(40), recipe)
    card = train_judge(
        model_path=tiny_model,
        parts=parts,
        rubric=RUBRIC,
        output_dir=tmp_path / "adapter",
        recipe=recipe,
        report=lambda _event: None,
        dtype="float32",
    )
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert {int(name.split("layers.")[1].split(".")[0]) for name in weights} == {0}
    made = LocalJudge(
        name="j",
        model_path=tiny_model,
        rubric=RUBRIC,
        adapter_path=tmp_path / "adapter",
        dtype="float32",
        layers=1,
    )
    verdicts = list(made.judge([row.as_item() for row in parts.development]))
    right = sum(one.label is row.label for one, row in zip(verdicts, parts.development, strict=True))
    best = max(epoch["development_macro_f1"] for epoch in card["history"])
    assert right / len(verdicts) == pytest.approx(best, abs=0.1)
    assert best > 0.5


def test_same_seed_trains_the_same_adapter(tiny_model: Path, tmp_path: Path) -> None:
    recipe = JudgeRecipe(epochs=1, held_out=0.2, development=0.2, lora_rank=2)
    parts = split_rows(rows(16), recipe)
    cards = [
        train_judge(
            model_path=tiny_model,
            parts=parts,
            rubric=RUBRIC,
            output_dir=tmp_path / str(run),
            recipe=recipe,
            report=lambda _event: None,
            dtype="float32",
        )
        for run in range(2)
    ]
    assert cards[0]["adapter_digest"] == cards[1]["adapter_digest"]


def test_loss_that_is_no_number_is_a_training_error_and_leaves_nothing(
    tiny_model: Path, tmp_path: Path
) -> None:
    recipe = JudgeRecipe(epochs=2, learning_rate=1e30, held_out=0.2, development=0.2)
    with pytest.raises(TrainingError, match="not a number; lower learning_rate"):
        train_judge(
            model_path=tiny_model,
            parts=split_rows(rows(24), recipe),
            rubric=RUBRIC,
            output_dir=tmp_path / "adapter",
            recipe=recipe,
            report=lambda _event: None,
            dtype="float32",
        )
    assert list(tmp_path.iterdir()) == []


def test_rows_of_a_prompt_stay_together_whatever_their_order() -> None:
    recipe = JudgeRecipe()
    parts = split_rows(rows(60), recipe)
    prompts = [{row.prompt for row in part} for part in (parts.train, parts.development, parts.held_out)]
    assert not prompts[0] & prompts[1]
    assert not prompts[0] & prompts[2]
    assert not prompts[1] & prompts[2]
    again = split_rows(rows(60)[::-1], recipe)
    assert {row.prompt for row in again.held_out} == prompts[2]
    assert prompts[2] == {row.prompt for row in rows(60) if part_of(row.prompt) == "held_out"}


def test_part_without_a_label_is_refused_by_name() -> None:
    one_sided = [
        row for row in rows(60) if row.label is not Label.CAUTION or part_of(row.prompt) != "held_out"
    ]
    with pytest.raises(NotEnoughData, match="held-out rows hold no Caution"):
        split_rows(one_sided, JudgeRecipe())


def test_rare_classes_weigh_more_and_weights_have_mean_one() -> None:
    uneven = [row for row in rows(12) if row.label is Label.ACCEPT or row.prompt == "question 0"]
    counts = Counter(row.label for row in uneven)
    weights = _class_weights(uneven)
    assert weights.mean().item() == pytest.approx(1.0)
    products = torch.tensor([counts[label] for label in LABELS]) * weights
    torch.testing.assert_close(products, products[:1].expand(3))


def test_batches_hold_every_row_once_within_both_limits() -> None:
    encoded = [([1] * (1 + n % 37), n) for n in range(500)]
    recipe = JudgeRecipe(batch_size=8, batch_tokens=100)
    batches = _batches(encoded, recipe, epoch=0)
    assert sorted(label for batch in batches for _, label in batch) == list(range(500))
    for batch in batches:
        assert len(batch) <= 8
        assert len(batch) * max(len(ids) for ids, _ in batch) <= 100
    assert batches == _batches(encoded, recipe, epoch=0)
    assert batches != _batches(encoded, recipe, epoch=1)


@pytest.mark.parametrize("steps", [1, 2, 3, 20, 29, 30])
def test_learning_rate_rises_and_falls_over_any_number_of_steps(steps: int) -> None:
    model = torch.nn.Linear(2, 2)
    made = _Steps(
        model,
        None,  # type: ignore[arg-type]
        plan=[[[([1], 0)]] * steps],
        weights=torch.ones(3),
        learning_rate=0.1,
        report=lambda _event: None,
    )
    rates = []
    for _ in range(steps):
        rates.append(made._schedule.get_last_lr()[0])
        made._optimiser.step()
        made._schedule.step() if len(rates) < steps else None
    assert all(0 < rate <= 0.1 for rate in rates)
    assert rates[-1] == min(rates)


def test_non_answers_are_not_trained_on(tiny_model: Path, tmp_path: Path) -> None:
    recipe = JudgeRecipe(epochs=1, held_out=0.2, development=0.2)
    parts = split_rows(rows(16), recipe)
    silent = [LabelledRow("question", "...", Label.CAUTION)] * 50
    card = train_judge(
        model_path=tiny_model,
        parts=Parts(parts.train, parts.development, parts.held_out),
        rubric=RUBRIC,
        output_dir=tmp_path / "adapter",
        recipe=recipe,
        report=lambda _event: None,
        extra_train=silent,
        dtype="float32",
    )
    assert sum(card["rows"]["train"].values()) == len(parts.train)
