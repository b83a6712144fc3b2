"""Harmless prompts that are not asked reach the training of the candidate whose lean is settled on them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daemon.cycle.plan import Plan
from policies.errors import TrainingError
from policies.training.recipe import Recipe, TrainingJob
from tests.unit.daemon.cycle.whole import PLAN, SPLITS, Setting, Workshop

RECIPES = {"dpo": Recipe("dpo", target_err=0.1)}


def job_of(setting: Setting, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> TrainingJob:
    """What the training process is handed; the process itself is not begun."""
    jobs: list[TrainingJob] = []

    def taken(job: TrainingJob, **kwargs: Any) -> dict[str, Any]:
        jobs.append(job)
        raise TrainingError("not in this test")

    monkeypatch.setattr(setting.trainers, "train", taken)
    runner = setting.runner(Workshop(), plan)
    with pytest.raises(TrainingError, match="not in this test"):
        runner._stages["train"]()
    return jobs[0]


def test_job_names_harmless_prompts_that_nothing_is_learnt_from(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    harmless = [prompt for prompt in SPLITS.train if prompt.harmful_level == 0]
    questions = replace(PLAN.questions, held_out=tuple(harmless[:10]))
    plan = replace(PLAN, recipes=RECIPES, questions=questions)
    job = job_of(setting, plan, monkeypatch)
    assert job.held_out_path is not None
    held_out = [json.loads(line)["prompt"] for line in Path(job.held_out_path).read_text().splitlines()]
    assert held_out == [prompt.text for prompt in harmless[:10]]
    other = replace(plan, questions=replace(questions, held_out=tuple(harmless[:9])))
    assert job_of(setting, other, monkeypatch).preferences_digest != job.preferences_digest


def test_without_such_prompts_the_job_names_no_file(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(PLAN, recipes={"dpo": Recipe("dpo", epochs=2)})
    assert job_of(setting, plan, monkeypatch).held_out_path is None
