"""A cycle from its first stage to its decision, killed, repeated, held."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from daemon.commands.cycle import show_cycle
from daemon.commands.label import draw
from daemon.cycle.plan import Plan
from daemon.cycle.validation import judge_digests
from daemon.cycle.worker import _has_to_train
from daemon.paths import Paths
from daemon.reading import compared
from daemon.stages import COMPARED, STAGES
from daemon.store.rows import CycleState, HumanLabel
from daemon.wiring import Place
from judges.panel import Member, PanelJudge
from policies.cares import Label
from policies.errors import EngineError
from policies.preferences import kto_examples
from policies.records import Candidate, Policy
from policies.splits import Splits
from tests.fakes.labelling_judges import OpinionJudge
from tests.unit.daemon.cycle.whole import (
    BASE,
    PLAN,
    RECIPES,
    SPLITS,
    Alias,
    Engine,
    Measuring,
    Setting,
    Workshop,
    opinion,
    prompts,
)


def test_cycle_runs_to_its_decision_and_asks_nothing_twice(setting: Setting) -> None:
    workshop = Workshop()
    row = setting.runner(workshop).run()
    assert row.state is CycleState.NO_WINNER, row.message
    assert set(workshop.made.asked.values()) == {1}
    assert tuple(event["stage"] for event in setting.told if event["event"] == "stage") == STAGES
    assert {one.name: one.status for one in setting.store.cycles.stages(row.id)} == dict.fromkeys(
        STAGES, "done"
    )
    # The loser of the race is told in the stage, in the decision, and has no figures.
    assert setting.stage("validate")["dpo"] == {"n": 240}
    assert setting.stage("validate")["kto"]["n"] == 60
    decision = setting.store.results.decision(row.id)
    assert decision is not None
    assert "stopped by the race before the end: kto" in decision.body["warnings"]
    assert any("kto was stopped after 60 of 240" in warning for warning in decision.body["warnings"])
    assert list(decision.body["names"].values()) == ["dpo"]
    assert setting.stage("decide")["oscillations"] is None, "base and candidate are no history"


def test_a_training_process_that_no_candidate_needs_does_not_wait_on(setting: Setting) -> None:
    setting.trainers.start_ahead()
    waiting = setting.trainers._waiting
    assert waiting is not None
    setting.runner(Workshop()).run()  # both candidates are known
    assert setting.trainers._waiting is None
    assert waiting.died


@pytest.mark.parametrize("stage", STAGES)
def test_a_training_process_is_started_ahead_where_training_is_to_come(setting: Setting, stage: str) -> None:
    assert _has_to_train(None)
    running = replace(setting.cycle, state=CycleState.RUNNING, stage=stage)
    assert _has_to_train(running) == (stage not in ("validate", "decide"))
    assert not _has_to_train(replace(running, state=CycleState.WAITING))


def test_unscored_answers_are_asked_again_once_a_run(setting: Setting) -> None:
    unscored = sum(one.verdict.label is None for one in setting.judged(Workshop()))
    assert unscored > 0
    workshop = Workshop()
    runner = setting.runner(workshop)
    for stage in ("sample", "judge", "prefer", "train"):
        runner._run_stage(stage, runner._stages[stage])
    assert workshop.judges["train"].asked == unscored


def test_another_run_asks_neither_judge_anew(setting: Setting) -> None:
    first, second = Workshop(), Workshop()
    for workshop in (first, second):
        runner = setting.runner(workshop)
        for stage in ("sample", "judge", "prefer", "train", "validate"):
            runner._run_stage(stage, runner._stages[stage])
    assert first.judges["second"].asked > 0
    assert second.judges["second"].asked == 0
    assert second.made.asked.total() == 0


def test_validation_that_was_killed_goes_on_and_stops_the_same(setting: Setting) -> None:
    before = Workshop(made=Engine(dies_after=300, error=EngineError("gone")))
    assert setting.runner(before).run().state is CycleState.FAILED
    setting.store.cycles.advance(setting.cycle.id, "failed", "running", "validate", setting.now())
    after = Workshop()
    assert setting.runner(after).run().state is CycleState.NO_WINNER
    both: Counter[str] = before.made.asked + after.made.asked
    assert set(both.values()) == {1}
    assert setting.stage("validate")["kto"]["n"] == 60
    looks = json.loads((setting.folder / "cycle" / "race.json").read_text())["looks"]
    assert [len(look) for look in looks] == [1]


def test_race_can_be_switched_off(setting: Setting) -> None:
    setting.runner(Workshop(), replace(PLAN, race_looks=1)).run()
    assert setting.stage("validate")["kto"] == {"n": 240}


def test_candidate_of_an_earlier_configuration_does_not_enter(setting: Setting) -> None:
    """It was trained before a hold: by other preferences, by another recipe, or by one since removed."""
    policy = Policy(BASE.base_digest, "s" * 64, setting.folder / "dpo")
    stale = Candidate("dpo", BASE.digest, "p" * 64, RECIPES["dpo"].digest, policy)
    setting.store.results.save_candidate(setting.cycle.id, stale, setting.now())
    setting.runner(Workshop(), replace(PLAN, recipes={"better": RECIPES["dpo"]})).run()
    decision = setting.store.results.decision(setting.cycle.id)
    assert decision is not None
    assert list(decision.body["names"].values()) == ["better"]
    assert set(setting.stage("validate")) == {"incumbent", "better", COMPARED}


def test_prompts_of_the_preferences_are_written_down_as_trained_on(setting: Setting) -> None:
    setting.store.answers.save_prompts(prompts("abandoned", 1))
    before = setting.store.answers.trained_on()
    runner = setting.runner(Workshop())
    runner._run_stage("train", runner._stages["train"])
    written = setting.store.answers.trained_on()
    assert len(before) == 60
    # Of every tenth the training judge could not tell.
    assert {one.text for _, one in before} - {one.text for _, one in written} == {
        f"train {n}" for n in range(7, 60, 10)
    }


@pytest.mark.parametrize(
    ("name", "is_really", "heard"),
    [("second", "train", False), ("second", "validate", False), ("second", "somebody else", True)],
)
def test_second_judge_is_known_by_what_it_is(
    setting: Setting, name: str, is_really: str, heard: bool
) -> None:
    workshop = Workshop()
    workshop.judges[name] = Alias(workshop.judges.get(is_really, workshop.judges[name]), name)
    setting.runner(workshop, replace(PLAN, race_looks=1)).run()
    decision = setting.store.results.decision(setting.cycle.id)
    assert decision is not None
    told = [gate["sentence"] for gates in decision.body["gates"].values() for gate in gates]
    assert any("no independent second signal" in sentence for sentence in told) is not heard


def test_panel_is_known_by_its_members() -> None:
    one, two, three = (OpinionJudge(opinion, name=name) for name in ("one", "two", "three"))
    inner = PanelJudge("inner", [Member(one), Member(two)])
    outer = PanelJudge("outer", [Member(inner), Member(three)])
    assert judge_digests(outer) == {judge.digest for judge in (one, two, three, inner, outer)}
    assert judge_digests(one) == {one.digest}


def measured(setting: Setting, plan: Plan) -> int:
    """How often one run asks for a policy's perplexity and divergence."""
    engine = Measuring()
    runner = setting.runner(Workshop(made=engine), plan)
    for stage in ("train", "validate"):
        runner._run_stage(stage, runner._stages[stage])
    return engine.measured


@pytest.mark.parametrize("left", [None, "null", "[1.5", "[1.5]", '{"a": 1}', "\x00"])
def test_fidelity_is_measured_once_and_again_where_its_file_cannot_be_read(
    setting: Setting, left: str | None
) -> None:
    plan = replace(PLAN, references=(("question", "answer"),))
    assert measured(setting, plan) == 2  # the base and the candidate that came to the end
    file, _ = sorted((setting.folder / "cycle").glob("fidelity-*.json"))
    if left is None:
        file.unlink()
    else:
        file.write_text(left)
    assert measured(setting, plan) == 1
    assert measured(setting, plan) == 0


def test_fidelity_on_other_references_is_another_figure(setting: Setting) -> None:
    for number in range(2):
        assert measured(setting, replace(PLAN, references=((f"question {number}", "answer"),))) == 2


def test_prompts_trained_on_under_another_seed_hold_before_anything_is_asked(setting: Setting) -> None:
    moved = Splits(SPLITS.selection, SPLITS.train, SPLITS.sealed)
    workshop = Workshop()
    row = setting.runner(workshop, replace(PLAN, splits=moved, split_seed=2)).run()
    assert row.state is CycleState.HELD
    assert "set it back to 1" in (row.message or "")
    assert workshop.made.asked.total() == 0


def test_history_of_three_releases_is_searched_for_oscillations(
    setting: Setting, at: Callable[[float], datetime], capsys: pytest.CaptureFixture[str]
) -> None:
    """The incumbent refuses what is harmful; a candidate that answers it again flips it back."""
    released = Policy(BASE.base_digest, "r" * 64, setting.folder / "dpo")
    setting.store.cycles.advance(setting.cycle.id, "running", "failed", "train", at(2))
    Engine.refuses[released.digest] = {3}
    setting.cycle = setting.store.cycles.create(
        incumbent=released, seed=7, config_digest="c" * 64, config={}, at=at(3)
    )
    made = setting.made_of_both(kto_examples, released)
    policy = Policy(BASE.base_digest, "a" * 64, setting.folder / "kto")
    candidate = Candidate("again", released.digest, made.digest, RECIPES["kto"].digest, policy)
    setting.store.results.save_candidate(setting.cycle.id, candidate, at(4))
    runner = setting.runner(Workshop(), replace(PLAN, recipes={"again": RECIPES["kto"]}, replay_cycles=1))
    for stage in ("train", "validate", "decide"):
        runner._run_stage(stage, runner._stages[stage])
    assert setting.stage("decide")["oscillations"] == {"again": 120}
    assert (setting.folder / "cycle" / "report" / "oscillations.md").is_file()
    any_settings: Any = None
    place = Place(any_settings, None, Paths.under(setting.folder / "data"), setting.store)
    show_cycle(place, setting.store.cycles.get(setting.cycle.id), "")
    assert "Prompts that flip back and forth across releases: again 120" in capsys.readouterr().out


def test_decision_waits_for_as_many_labels_as_were_asked_for(setting: Setting) -> None:
    plan = replace(PLAN, labelled_prompts=5, race_looks=1)
    workshop = Workshop()
    held = setting.runner(workshop, plan).run()
    assert held.state is CycleState.HELD
    assert held.message is not None
    assert "0 of 5 prompts for dpo, 0 of 5 prompts for kto" in held.message
    assert f"primum label sample {held.id} --candidate dpo --prompts 5" in held.message
    assert setting.store.results.decision(held.id) is None

    for name in ("dpo", "kto"):
        pair = compared(setting.store, held, name)
        rows, _ = draw(pair, 5, set(), seed=held.seed)
        texts = {(row["prompt"], row["answer"]) for row in rows}
        setting.store.evidence.save_labels(
            HumanLabel(
                one.prompt.digest, one.response.answer_digest, *text, Label.CAUTION, "me", setting.now()
            )
            for one in (*pair.before, *pair.after)
            if (text := (one.prompt.text, one.response.text)) in texts
        )
    cycles = setting.store.cycles
    cycles.advance(held.id, CycleState.HELD, CycleState.RUNNING, held.stage, setting.now())
    again = Workshop()
    row = setting.runner(again, plan).run()
    assert row.state in (CycleState.NO_WINNER, CycleState.WAITING), row.message
    assert not again.made.asked, "no answer is asked for again"
    decision = setting.store.results.decision(row.id)
    assert decision is not None


def test_waiting_for_labels_never_asks_for_more_prompts_than_there_are(setting: Setting) -> None:
    plan = replace(PLAN, labelled_prompts=10_000, race_looks=1)
    held = setting.runner(Workshop(), plan).run()
    assert held.message is not None
    assert "0 of 240 prompts for dpo" in held.message
