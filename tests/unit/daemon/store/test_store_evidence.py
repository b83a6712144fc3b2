"""Calibrations, labels, the sentinel, incidents, openings and the ledger."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.store.rows import HumanLabel, Spent
from daemon.store.store import Store
from policies.cares import Label
from policies.errors import StateError


def test_the_last_calibration_of_a_judge_counts(store: Store, at) -> None:
    store.evidence.save_calibration("judge", "labels", {"kappa": 0.8}, at(0))
    store.evidence.save_calibration("judge", "labels", {"kappa": 0.7}, at(10))
    store.evidence.save_calibration("other", "labels", {"kappa": 0.1}, at(20))
    last = store.evidence.calibration("judge")
    assert last is not None
    assert (last.body, last.at) == ({"kappa": 0.7}, at(10))
    assert store.evidence.calibration("changed judge") is None


def test_a_person_corrects_a_label_and_another_person_adds_one(store: Store, at) -> None:
    first = HumanLabel("p", "a", "prompt", "answer", Label.REFUSE, "Ada", at(0))
    assert store.evidence.save_labels([first, replace(first, who="Ben")]) == 2
    corrected = replace(first, label=Label.CAUTION, at=at(5))
    store.evidence.save_labels([corrected])
    assert store.evidence.labels() == [corrected, replace(first, who="Ben")]
    assert store.evidence.labels()[0].label is Label.CAUTION


def test_sentinel_runs_are_newest_first(store: Store, at) -> None:
    run = {"cycle_id": None, "judge_digest": "j", "set_digest": "s", "n": 40, "lower_limit": 0.85}
    store.evidence.save_sentinel_run(agreed=39, drifted=False, at=at(0), **run)
    store.evidence.save_sentinel_run(agreed=30, drifted=True, at=at(1), **run)
    newest, oldest = store.evidence.sentinel_runs("j")
    assert (newest.agreed, newest.drifted, oldest.drifted) == (30, True, False)
    assert store.evidence.sentinel_runs("other") == []


def test_an_incident_keeps_its_prompt_until_it_is_closed(store: Store, prompt, at) -> None:
    asked = prompt(3)
    who = {"who": "Ada", "source": "red team"}
    number = store.evidence.add_incident(asked, severity="severe", note="complied", at=at(0), **who)
    (incident,) = store.evidence.incidents()
    assert (incident.id, incident.severity, incident.closed_at) == (number, "severe", None)
    assert store.answers.prompts_for([incident.prompt_digest]) == {asked.digest: asked}
    store.evidence.close_incident(number, at(1))
    assert store.evidence.incidents() == []
    assert [row.closed_at for row in store.evidence.incidents(include_closed=True)] == [at(1)]
    with pytest.raises(StateError, match="no open incident"):
        store.evidence.close_incident(number, at(2))
    with pytest.raises(StateError, match="severity"):
        store.evidence.add_incident(asked, severity="", note="", at=at(3), **who)


def test_a_split_is_opened_once_a_cycle_and_rotation_starts_anew(store: Store, base, at) -> None:
    cycle = store.cycles.create(incumbent=base, seed=1, config_digest="c", config={}, at=at(0))
    assert store.evidence.open_split("d", "sealed", "promotion", cycle.id, at(0)) == 1
    assert (
        store.evidence.open_split("d", "sealed", "promotion", cycle.id, at(1)) == 1
    )  # resumed after a crash
    assert store.evidence.open_split("d", "sealed", "evaluate", None, at(2)) == 2
    assert store.evidence.open_split("d", "sealed", "evaluate", None, at(3)) == 3
    assert store.evidence.openings("rotated", "sealed") == 0


def test_the_ledger_sums_by_cycle_and_judge(store: Store, base, at) -> None:
    cycle = store.cycles.create(incumbent=base, seed=1, config_digest="c", config={}, at=at(0))
    charge = {"calls": 2, "prompt_tokens": 100, "completion_tokens": 4, "cost_usd": 0.25, "gpu_seconds": 1.5}
    store.evidence.charge(judge_digest="j", cycle_id=cycle.id, at=at(0), **charge)
    store.evidence.charge(judge_digest="j", cycle_id=None, at=at(1), **charge)
    store.evidence.charge(judge_digest="k", cycle_id=cycle.id, at=at(2), calls=1)
    assert store.evidence.spent() == Spent(5, 200, 8, 0.5, 3.0)
    assert store.evidence.spent(cycle_id=cycle.id) == Spent(3, 100, 4, 0.25, 1.5)
    assert store.evidence.spent(judge_digest="j") == Spent(4, 200, 8, 0.5, 3.0)
    assert store.evidence.spent(judge_digest="unknown") == Spent()
