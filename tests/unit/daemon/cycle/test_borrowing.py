"""A cycle that asks a few prompts under examples pairs all the others with what was said there."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from daemon.cycle.plan import Plan
from tests.unit.daemon.cycle.whole import PLAN, Setting, Workshop


def pairs_and_contrasts(setting: Setting, plan: Plan) -> tuple[list[dict[str, object]], int, dict[str, int]]:
    """The DPO pairs written, how often the policy was asked under examples, what the stage tells."""
    workshop = Workshop()
    runner = setting.runner(workshop, plan)
    told = [runner._stages[stage]() for stage in ("sample", "judge", "prefer")]
    rows = [json.loads(line) for line in next(setting.folder.rglob("dpo.jsonl")).read_text().splitlines()]
    return rows, told[0]["responses"] - len(plan.questions.train), told[2]["dpo"]


@pytest.mark.parametrize("each", [2, 5])
def test_prompts_that_are_not_asked_under_examples_borrow_a_refusal(setting: Setting, each: int) -> None:
    rows, asked, told = pairs_and_contrasts(setting, PLAN)
    some = replace(PLAN, borrow_refusals=True, sampling=replace(PLAN.sampling, contrast_prompts=each))
    fewer, asked_of_some, told_of_some = pairs_and_contrasts(setting, some)
    assert asked == len(rows) > asked_of_some == 2 * each
    assert {(row["prompt"], row["chosen"], row["rejected"]) for row in fewer} == {
        (row["prompt"], row["chosen"], row["rejected"]) for row in rows
    }
    assert "borrowed" not in told
    assert told_of_some["borrowed"] == sum(row["borrowed"] is True for row in fewer) == len(rows) - 2 * each
