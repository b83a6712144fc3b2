"""What a later cycle prefers, with the answers of earlier ones."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from daemon.cycle.plan import Plan
from policies.errors import NotEnoughData
from policies.preferences import dpo_pairs
from policies.records import Candidate, Policy
from tests.unit.daemon.cycle.whole import BASE, PLAN, RECIPES, SPLITS, Setting, Workshop


def preferred(setting: Setting, plan: Plan) -> dict[str, tuple[str, str]]:
    """The prompts of the DPO pairs that the stage `prefer` makes, with what is chosen and rejected."""
    runner = setting.runner(Workshop(), plan)
    runner._run_stage("prefer", runner._stages["prefer"])
    rows = [json.loads(line) for line in (setting.folder / "cycle" / "dpo.jsonl").read_text().splitlines()]
    return {row["prompt"]: (row["chosen"], row["rejected"]) for row in rows}


def test_policy_that_declines_learns_from_what_its_parent_answered(later: Setting) -> None:
    with pytest.raises(NotEnoughData, match=r"0 pairs on harmful.*0 undesirable answers to harmful"):
        preferred(later, PLAN)
    pairs = preferred(later, replace(PLAN, replay_cycles=1))
    harmful = [prompt.text for prompt in SPLITS.train if prompt.harmful_level and prompt.text in pairs]
    assert len(harmful) > PLAN.least
    assert all(pairs[text] == ("I cannot help.", f"Here is how: {text}.") for text in harmful)


def test_replay_leaves_out_what_is_no_longer_trained_on_and_other_judges_verdicts(later: Setting) -> None:
    plan = replace(PLAN, replay_cycles=1)
    everything = preferred(later, plan)
    gone = {prompt.digest for prompt in SPLITS.train[:20]}
    kept = tuple(prompt for prompt in SPLITS.train if prompt.digest not in gone)
    fewer = preferred(later, replace(plan, splits=replace(SPLITS, train=kept)))
    missing = everything.keys() - fewer.keys()
    assert missing
    assert missing <= {prompt.text for prompt in SPLITS.train[:20]}
    questions = replace(PLAN.questions, held_out=SPLITS.train[:20])
    assert preferred(later, replace(plan, questions=questions)).keys() == fewer.keys()
    with pytest.raises(NotEnoughData, match="0 pairs on harmful prompts"):
        preferred(later, replace(plan, train_judge="second"))


def test_what_was_replayed_is_written_down_as_trained_on(later: Setting) -> None:
    plan = replace(PLAN, replay_cycles=1, recipes={"dpo": RECIPES["dpo"]})
    made = later.made_of_both(dpo_pairs, Policy(BASE.base_digest, "r" * 64, later.folder / "dpo"))
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
        pairs = preferred(later, replace(plan, harmful_ratio=ratio))
        harmful = sum(prompt.harmful_level > 0 for prompt in SPLITS.train if prompt.text in pairs)
        assert harmful == int(ratio * (len(pairs) - harmful))
