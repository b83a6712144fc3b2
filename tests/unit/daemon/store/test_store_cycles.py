"""The state of cycles, their stages and results."""

from __future__ import annotations

import threading

import pytest

from daemon.store.rows import CycleState
from daemon.store.store import Store
from policies.errors import PrimumError, StateError
from policies.records import Policy


@pytest.fixture
def new(store: Store, base: Policy, at):
    return lambda seconds=0.0: store.cycles.create(
        incumbent=base, seed=7, config_digest="c" * 64, config={"epochs": 1}, at=at(seconds)
    )


def test_a_new_cycle_runs_and_is_found(store: Store, new, base, at) -> None:
    cycle = new()
    assert (cycle.state, cycle.seed, cycle.config) == (CycleState.RUNNING, 7, {"epochs": 1})
    assert cycle.incumbent_digest == base.digest
    assert cycle.started_at == cycle.updated_at == at(0)
    assert store.cycles.get(cycle.id) == store.cycles.latest() == store.cycles.open_cycle() == cycle
    assert store.releases.policy(base.digest) == base


def test_nothing_is_open_before_the_first_cycle(store: Store) -> None:
    assert store.cycles.latest() is None
    assert store.cycles.open_cycle() is None
    with pytest.raises(StateError, match="no cycle 4"):
        store.cycles.get(4)


@pytest.mark.parametrize("state", ["running", "held", "waiting_for_approval"])
def test_a_second_cycle_waits_until_the_first_is_finished(store: Store, new, at, state: str) -> None:
    first = new()
    store.cycles.advance(first.id, "running", state, "train", at(1))
    with pytest.raises(StateError, match=f"cycle {first.id} is {state}"):
        new(2)
    store.cycles.advance(first.id, state, "failed", "train", at(3), message="no disk")
    second = new(4)
    assert [cycle.id for cycle in store.cycles.recent()] == [second.id, first.id]


def test_a_held_cycle_says_why_and_goes_on(store: Store, new, at) -> None:
    cycle = new()
    held = store.cycles.advance(cycle.id, "running", "held", "judge", at(1), message="kappa 0.31 below 0.60")
    assert (held.state, held.message, held.ended_at) == (CycleState.HELD, "kappa 0.31 below 0.60", None)
    going = store.cycles.advance(cycle.id, "held", "running", "judge", at(2))
    assert (going.state, going.message, going.updated_at) == (CycleState.RUNNING, None, at(2))


def test_a_cycle_that_moved_is_not_moved_again(store: Store, new, at) -> None:
    cycle = new()
    store.cycles.advance(cycle.id, "running", "held", "judge", at(1))
    with pytest.raises(StateError, match="is held, not running"):
        store.cycles.advance(cycle.id, "running", "failed", "judge", at(2))
    assert store.cycles.get(cycle.id).state is CycleState.HELD


def test_only_one_of_two_racers_moves_a_cycle(store: Store, new, at) -> None:
    cycle = new()
    outcomes: list[str] = []
    start = threading.Barrier(4)

    def race(state: str) -> None:
        start.wait()
        try:
            store.cycles.advance(cycle.id, "running", state, "decide", at(1))
            outcomes.append(state)
        except StateError:
            outcomes.append("late")

    threads = [
        threading.Thread(target=race, args=(state,)) for state in ("held", "failed", "no_winner", "held")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("late") == 3
    (winner,) = [state for state in outcomes if state != "late"]
    assert store.cycles.get(cycle.id).state == winner


@pytest.mark.parametrize("state", ["released", "rejected"])
def test_only_a_review_releases_or_rejects(store: Store, new, at, state: str) -> None:
    with pytest.raises(StateError, match="person's review"):
        store.cycles.advance(new().id, "running", state, "release", at(1))


def test_no_winner_is_final_and_failed_is_not(store: Store, new, at) -> None:
    cycle = new()
    ended = store.cycles.advance(cycle.id, "running", "no_winner", "decide", at(1))
    assert (ended.finished, ended.ended_at) == (True, at(1))
    with pytest.raises(StateError, match="final"):
        store.cycles.advance(cycle.id, "no_winner", "running", "decide", at(2))
    again = new(3)
    store.cycles.advance(again.id, "running", "failed", "train", at(4))
    assert store.cycles.advance(again.id, "failed", "running", "train", at(5)).ended_at is None


def test_a_failed_cycle_does_not_reopen_beside_another(store: Store, new, at) -> None:
    failed = new()
    store.cycles.advance(failed.id, "running", "failed", "train", at(1))
    new(2)
    with pytest.raises(StateError, match="finish it"):
        store.cycles.advance(failed.id, "failed", "running", "train", at(3))


def test_an_unknown_state_is_refused(store: Store, new, at) -> None:
    with pytest.raises(StateError, match="sleeping is no state"):
        store.cycles.advance(new().id, "running", "sleeping", "train", at(1))


def test_stage_seconds_add_up_over_restarts(store: Store, new, at) -> None:
    cycle = new()
    store.cycles.start_stage(cycle.id, "sample", at(0))
    store.cycles.add_stage_seconds(cycle.id, "sample", 10.5)  # then the process is killed
    store.cycles.start_stage(cycle.id, "sample", at(100))
    store.cycles.finish_stage(cycle.id, "sample", at(104), seconds=4.0, detail={"answers": 12})
    store.cycles.start_stage(cycle.id, "judge", at(105))
    sample, judge = store.cycles.stages(cycle.id)
    assert (sample.status, sample.seconds) == ("done", 14.5)
    assert (sample.started_at, sample.ended_at) == (at(0), at(104))
    assert sample.detail == {"answers": 12}
    assert (judge.status, judge.ended_at) == ("running", None)
    assert store.cycles.stage_seconds(cycle.id) == {"sample": 14.5, "judge": 0.0}


def test_a_stage_that_never_started_cannot_end(store: Store, new, at) -> None:
    with pytest.raises(StateError, match="no stage train"):
        store.cycles.finish_stage(new().id, "train", at(1))


def test_the_log_keeps_every_transition_in_order(store: Store, new, at) -> None:
    cycle = new()
    store.cycles.start_stage(cycle.id, "sample", at(1))
    store.cycles.advance(cycle.id, "running", "held", "sample", at(2), message="why")
    store.cycles.log("note", at(3), None, text="of no cycle")
    kinds = [event.kind for event in store.cycles.events(cycle.id)]
    assert kinds == ["cycle_created", "stage_started", "cycle_moved"]
    moved = store.cycles.events(cycle.id)[-1]
    assert (moved.body["from"], moved.body["to"], moved.at) == ("running", "held", at(2))
    assert [event.kind for event in store.cycles.events(after_id=moved.id)] == ["note"]


def test_a_refused_move_leaves_no_event(store: Store, new, at) -> None:
    cycle = new()
    before = store.cycles.events()
    with pytest.raises(StateError):
        store.cycles.advance(cycle.id, "held", "running", "sample", at(1))
    assert store.cycles.events() == before


def test_candidates_are_kept_and_found_by_identity(store: Store, new, candidate, at) -> None:
    cycle, kto = new(), candidate("kto")
    store.results.save_candidate(cycle.id, kto, at(1))
    found = store.results.trained(kto.key)
    assert found == kto
    assert found is not None
    assert (found.card, found.policy.adapter_path) == (kto.card, kto.policy.adapter_path)
    assert store.results.trained("unknown") is None
    store.cycles.advance(cycle.id, "running", "no_winner", "decide", at(2))
    later = new(3)
    store.results.save_candidate(later.id, kto, at(4))  # found again, not trained again
    assert [row.key for row in store.results.candidates(later.id)] == [kto.key]
    assert len(store.results.candidates(cycle.id)) == 1


def test_one_method_may_fail_beside_the_other(store: Store, new, candidate, at) -> None:
    cycle, kto, dpo = new(), candidate("kto"), candidate("dpo", adapter="d")
    identity = {
        "method": "dpo",
        "parent_digest": dpo.parent_digest,
        "preferences_digest": dpo.preferences_digest,
        "recipe_digest": dpo.recipe_digest,
    }
    store.results.save_candidate(cycle.id, kto, at(1))
    store.results.save_failed_candidate(cycle.id, **identity, error="out of memory", at=at(2))
    failed, trained = store.results.candidates(cycle.id)
    assert (failed.status, failed.error, failed.policy_digest) == ("failed", "out of memory", None)
    assert (trained.status, trained.error, trained.policy_digest) == ("trained", None, kto.policy.digest)
    assert store.results.trained(dpo.key) is None

    store.results.save_candidate(cycle.id, dpo, at(3))
    store.results.save_failed_candidate(cycle.id, **identity, error="late failure", at=at(4))
    assert store.results.trained(dpo.key) == dpo


def test_a_candidate_of_no_cycle_is_refused(store: Store, candidate, at) -> None:
    with pytest.raises(StateError, match="no cycle 9"):
        store.results.save_candidate(9, candidate(), at(0))


def test_a_scorecard_made_again_replaces_itself(store: Store, new, base, at) -> None:
    cycle = new()
    card = {"policy_digest": base.digest, "split": "select", "judge_digest": "j"}
    store.results.save_scorecard(cycle.id, role="base", body={"ss": 0.4}, at=at(1), **card)
    store.results.save_scorecard(cycle.id, role="incumbent", body={"ss": 0.4}, at=at(1), **card)
    store.results.save_scorecard(cycle.id, role="base", body={"ss": 0.5}, at=at(2), **card)
    first, second = store.results.scorecards(cycle.id)
    assert (first.role, first.body, first.created_at) == ("base", {"ss": 0.5}, at(2))
    assert second.role == "incumbent"
    assert store.results.scorecards(cycle.id, split="sealed") == []


def test_a_scorecard_with_nan_is_refused(store: Store, new, base, at) -> None:
    with pytest.raises(PrimumError, match="JSON"):
        store.results.save_scorecard(
            new().id,
            policy_digest=base.digest,
            role="base",
            split="select",
            judge_digest="j",
            body={"ss": float("nan")},
            at=at(1),
        )


def test_a_decision_is_made_again_while_the_cycle_runs_and_then_stays(
    store: Store, new, candidate, at
) -> None:
    cycle, kto = new(), candidate("kto")
    store.results.save_candidate(cycle.id, kto, at(1))
    store.results.save_decision(cycle.id, outcome="inconclusive", winner_key=None, body={}, at=at(2))
    assert store.results.winner(cycle.id) is None
    store.results.save_decision(cycle.id, outcome="promote", winner_key=kto.key, body={"ss": 1}, at=at(3))
    decision = store.results.decision(cycle.id)
    assert decision is not None
    assert (decision.outcome, decision.winner_key, decision.body) == ("promote", kto.key, {"ss": 1})
    winner = store.results.winner(cycle.id)
    assert winner is not None
    assert winner.policy_digest == kto.policy.digest
    store.cycles.advance(cycle.id, "running", "waiting_for_approval", "decide", at(4))
    with pytest.raises(StateError, match="only a running cycle"):
        store.results.save_decision(cycle.id, outcome="reject", winner_key=None, body={}, at=at(5))


@pytest.mark.parametrize(
    ("outcome", "winner"), [("promote", None), ("reject", "k"), ("promote", "unknown"), ("perhaps", None)]
)
def test_a_decision_without_sense_is_refused(store: Store, new, at, outcome, winner) -> None:
    cycle = new()
    with pytest.raises(StateError):
        store.results.save_decision(cycle.id, outcome=outcome, winner_key=winner, body={}, at=at(1))
    assert store.results.decision(cycle.id) is None
