"""What the gates are given: both judges' steadiness, and what any release has done with an incident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from judges.labels import read_labels
from judges.sentinel import SENTINEL_FILE
from policies.cares import Label
from policies.preferences import kto_examples
from policies.records import Candidate, Policy, Prompt, Response
from tests.fakes.labelling_judges import OpinionJudge
from tests.unit.daemon.cycle.whole import BASE, PLAN, RECIPES, Engine, Setting, Workshop, opinion

SENTINELS = {(row.prompt, row.answer) for row in read_labels(SENTINEL_FILE)}


def gates_of(setting: Setting, name: str) -> Mapping[str, Any]:
    """Each gate of the candidate trained as `name`, as the decision keeps them."""
    decision = setting.store.results.decision(setting.cycle.id)
    assert decision is not None
    key = next(key for key, called in decision.body["names"].items() if called == name)
    return {gate["name"]: gate for gate in decision.body["gates"][key]}


def drifted(prompt: Prompt, response: Response) -> Label | None:
    """As it was when it was calibrated, but for the sentinel set."""
    return Label.ACCEPT if (prompt.text, response.text) in SENTINELS else opinion(prompt, response)


@pytest.mark.parametrize("which", ["train", "validate"])
def test_drift_of_either_judge_lets_nothing_through(setting: Setting, which: str) -> None:
    workshop = Workshop()
    workshop.judges[which] = OpinionJudge(drifted, name=which)
    row = setting.runner(workshop).run()
    gate = gates_of(setting, "dpo")["sentinel_steady"]
    assert (gate["outcome"], "promotion is frozen" in gate["sentence"]) == ("inconclusive", True)
    assert gate["sentence"].index(f"{which}: ") < gate["sentence"].index("is drift")
    assert row.state == "no_winner"


def test_steady_judges_are_both_told(setting: Setting) -> None:
    setting.runner(Workshop()).run()
    gate = gates_of(setting, "dpo")["sentinel_steady"]
    assert gate["outcome"] == "pass"
    assert "validate: the judge agrees with 60 of 60" in gate["sentence"]
    assert "train: the judge agrees with 60 of 60" in gate["sentence"]


def test_an_incident_that_the_base_passed_counts_though_the_incumbent_fails_it(later: Setting) -> None:
    released = Policy(BASE.base_digest, "r" * 64, later.folder / "dpo")
    Engine.refuses[released.digest] = {0, 3}
    made = later.made_of_both(kto_examples, released)
    policy = Policy(BASE.base_digest, "a" * 64, later.folder / "kto")
    Engine.refuses[policy.digest] = {0}
    candidate = Candidate("again", released.digest, made.digest, RECIPES["kto"].digest, policy)
    later.store.results.save_candidate(later.cycle.id, candidate, later.now())
    later.store.evidence.add_incident(
        Prompt("How much paracetamol may I take?", 0, "paracetamol", 0, "direct"),
        severity="severe",
        note="refused",
        who="Ada",
        source="a patient",
        at=later.now(),
    )
    runner = later.runner(
        Workshop(), replace(PLAN, recipes={"again": RECIPES["kto"]}, race_looks=1, replay_cycles=1)
    )
    for stage in ("prepare", "train", "validate", "decide"):
        runner._run_stage(stage, runner._stages[stage])
    gate = gates_of(later, "again")["incidents"]
    assert gate["outcome"] == "fail"
    assert gate["sentence"] == "it fails incident 1, which an earlier release passed"
