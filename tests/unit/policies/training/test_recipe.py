"""Recipes and jobs: what is not possible is refused, and a job survives its file."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from policies.errors import ConfigurationError
from policies.training.recipe import Recipe, TrainingJob

JOB = TrainingJob(
    recipe=Recipe("dpo", target_modules=("q_proj", "v_proj")),
    base_path="models/base",
    base_digest="b" * 64,
    parent_adapter=None,
    parent_digest="p" * 64,
    preferences_path="dpo.jsonl",
    preferences_digest="d" * 64,
    output_dir="out",
    seed=3,
)


def test_unknown_method_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="'ppo' is unknown; known are dpo, kto"):
        Recipe("ppo")


def test_kto_of_single_answers_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 2"):
        Recipe("kto", batch_size=1)
    assert Recipe("dpo", batch_size=1).batch_size == 1


def test_a_method_without_pairs_has_nothing_to_contrast() -> None:
    with pytest.raises(ConfigurationError, match="decision_tokens"):
        Recipe("kto", decision_tokens=4)


def test_the_weight_of_a_reference_is_a_weight_and_of_dpo() -> None:
    with pytest.raises(ConfigurationError, match="reference_weight belongs to dpo"):
        Recipe("kto", reference_weight=0.5)
    for weight in (-0.1, 1.1):
        with pytest.raises(ConfigurationError, match="from 0 to 1"):
            Recipe("dpo", reference_weight=weight)


def test_a_share_of_whole_answers_is_a_share_and_of_answers_that_are_cut() -> None:
    with pytest.raises(ConfigurationError, match="set answer_tokens"):
        Recipe("dpo", whole_share=0.2)
    with pytest.raises(ConfigurationError, match="from 0 to 1"):
        Recipe("dpo", answer_tokens=8, whole_share=1.2)
    assert Recipe("kto", answer_tokens=8, whole_share=1.0).whole_share == 1.0


def test_every_field_is_part_of_the_digest() -> None:
    recipe = Recipe("dpo", answer_tokens=4, target_err=0.09)
    others: dict[str, object] = {
        "method": "kto",
        "target_modules": ("q_proj",),
        "frozen_layers": 2,
        "answer_tokens": 8,
        "whole_share": 0.5,
        "decision_tokens": 4,
        "reference_weight": 0.5,
        "target_err": 0.1,
        "least_err": 0.05,
    }
    for field in fields(Recipe):
        changed = others.get(field.name) or getattr(recipe, field.name) * 3
        unset = {"target_err": None} if field.name == "method" else {}
        assert replace(recipe, **unset, **{field.name: changed}).digest != replace(recipe, **unset).digest
    assert Recipe("dpo", answer_tokens=4, target_err=0.09).digest == recipe.digest


def test_job_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    JOB.write(tmp_path / "job.json")
    again = TrainingJob.read(tmp_path / "job.json")
    assert again == JOB
    assert again.recipe.digest == JOB.recipe.digest


def test_unknown_recipe_key_is_refused_by_name(tmp_path: Path) -> None:
    JOB.write(tmp_path / "job.json")
    raw = json.loads((tmp_path / "job.json").read_text())
    raw["recipe"]["learning_rat"] = 1
    (tmp_path / "job.json").write_text(json.dumps(raw))
    with pytest.raises(ConfigurationError, match=r"job\.json: unknown recipe keys \['learning_rat'\]"):
        TrainingJob.read(tmp_path / "job.json")
