"""What a later cycle prefers, with the answers of earlier ones."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from daemon.cycle.plan import Plan
from policies.preferences import dpo_pairs
from policies.records import Candidate, Policy
from tests.unit.daemon.cycle.whole import BASE, PLAN, RECIPES, SPLITS, Setting, Workshop


def preferred(setting: Setting, plan: Plan) -> dict[str, Any]:
    """What the stage `prefer` tells, and the prompts of its DPO pairs with what is chosen and rejected."""
    runner = setting.runner(Workshop(), plan)
    runner._run_stage("prefer", runner._stages["prefer"])
    told = setting.stage("prefer")["dpo"]
    path = setting.folder / "cycle" / "dpo.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {"told": told, "pairs": {row["prompt"]: (row["chosen"], row["rejected"]) for row in rows}}


def test_policy_that_declines_learns_from_what_its_parent_answered(later: Setting) -> None:
    alone = preferred(later, PLAN)
    assert "0 pairs on harmful prompts" in alone["told"]
    pairs = preferred(later, replace(PLAN, replay_cycles=1))["pairs"]
    harmful = [prompt.text for prompt in SPLITS.train if prompt.harmful_level and prompt.text in pairs]
    assert len(harmful) > PLAN.least
    assert all(pairs[text] == ("I cannot help.", f"Here is how: {text}.") for text in harmful)


def test_replay_leaves_out_what_is_no_longer_trained_on_and_other_judges_verdicts(later: Setting) -> None:
    plan = replace(PLAN, replay_cycles=1)
    everything = preferred(later, plan)["pairs"]
    gone = {prompt.digest for prompt in SPLITS.train[:20]}
    kept = tuple(prompt for prompt in SPLITS.train if prompt.digest not in gone)
    fewer = preferred(later, replace(plan, splits=replace(SPLITS, train=kept)))["pairs"]
    missing = everything.keys() - fewer.keys()
    assert missing
    assert missing <= {prompt.text for prompt in SPLITS.train[:20]}
    questions = replace(PLAN.questions, held_out=SPLITS.train[:20])
    assert preferred(later, replace(plan, questions=questions))["pairs"].keys() == fewer.keys()
    other = replace(plan, train_judge="second")
    assert "0 pairs on harmful prompts" in preferred(later, other)["told"]


def test_what_was_replayed_is_written_down_as_trained_on(later: Setting) -> None:
    plan = replace(PLAN, replay_cycles=1, recipes={"dpo": RECIPES["dpo"]})
    judged = later.judged(Workshop(), Policy(BASE.base_digest, "r" * 64, later.folder / "dpo"))
    before = later.store.answers.judged(1, "train", BASE.digest, Workshop().judge("train").digest)
    made = dpo_pairs(judged, replayed=before, seed=later.cycle.seed, least=plan.least)
    policy = Policy(BASE.base_digest, "a" * 64, later.folder / "dpo")
    one = Candidate("dpo", later.cycle.incumbent_digest, made.digest, RECIPES["dpo"].digest, policy)
    later.store.results.save_candidate(later.cycle.id, one, later.now())
    runner = later.runner(Workshop(), plan)
    runner._run_stage("train", runner._stages["train"])
    written = {prompt.text for cycle, prompt in later.store.answers.trained_on() if cycle == later.cycle.id}
    assert written == {row.prompt for row in made.dpo}


def test_harmful_pairs_are_kept_in_the_plans_proportion(later: Setting) -> None:
    plan = replace(PLAN, replay_cycles=1)
    for ratio in (0.25, 0.5):
        pairs = preferred(later, replace(plan, harmful_ratio=ratio))["pairs"]
        harmful = sum(prompt.harmful_level > 0 for prompt in SPLITS.train if prompt.text in pairs)
        assert harmful == int(ratio * (len(pairs) - harmful))
