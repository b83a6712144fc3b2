"""Approve, reject, roll back: who may, what follows, and what is refused."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from daemon.store.releases import Releases
from daemon.store.rows import CycleState
from daemon.store.store import Store
from policies.errors import StateError
from policies.records import Candidate, Policy

BY = {"who": "Dr Ada", "reason": "read the flips"}


@pytest.fixture
def approve(store: Store, waiting, at):
    """Promotes a candidate through a cycle of its own."""

    def make(winner: Candidate, incumbent: Policy):
        cycle = waiting(winner, incumbent)
        return store.releases.approve(cycle.id, bound_digest=winner.policy.digest, at=at(10), **BY)

    return make


def test_the_initial_release_is_recorded_once(store: Store, base, at) -> None:
    first = store.releases.record_initial(base, at(0))
    assert (first.kind, first.policy_digest) == ("initial", base.digest)
    assert first.previous_id is first.review_id is None
    assert store.releases.record_initial(base, at(1)) == first
    assert store.releases.history() == [first]


def test_another_base_model_is_refused(store: Store, base, at) -> None:
    store.releases.record_initial(base, at(0))
    with pytest.raises(StateError, match="base model"):
        store.releases.record_initial(Policy("x" * 64), at(1))


def test_adapters_are_found_where_an_installation_was_moved_to(
    store: Store, base, at, tmp_path: Path
) -> None:
    policy = Policy(base.base_digest, "a" * 64, tmp_path / "former" / "x")
    store.releases.save_policy(policy, at(0))
    moved = Releases(store.engine, tmp_path / "adapters")
    assert moved.policy(policy.digest).adapter_path == policy.adapter_path
    folder = tmp_path / "adapters" / str(policy.adapter_name)
    folder.mkdir(parents=True)
    assert moved.policy(policy.digest).adapter_path == folder
    assert moved.policy(policy.digest) == policy


def test_approval_releases_the_winner_in_one_step(store: Store, base, candidate, waiting, at) -> None:
    initial = store.releases.record_initial(base, at(0))
    winner = candidate()
    cycle = waiting(winner)
    release = store.releases.approve(cycle.id, bound_digest=winner.policy.digest, at=at(9), **BY)
    assert (release.kind, release.policy_digest) == ("promotion", winner.policy.digest)
    assert (release.previous_id, release.cycle_id, release.serving_at) == (initial.id, cycle.id, None)
    assert store.releases.deployed() == release
    done = store.cycles.get(cycle.id)
    assert (done.state, done.ended_at) == (CycleState.RELEASED, at(9))
    (review,) = store.releases.reviews(cycle.id)
    assert (review.id, review.action, review.who, review.reason) == (
        release.review_id,
        "approve",
        "Dr Ada",
        "read the flips",
    )
    assert review.policy_digest == review.bound_digest == winner.policy.digest
    assert review.at == release.desired_at == at(9)
    assert store.cycles.open_cycle() is None
    assert store.releases.policy(release.policy_digest).adapter_path == winner.policy.adapter_path


def _nothing_happened(store: Store, cycle_id: int, state: CycleState) -> None:
    assert store.cycles.get(cycle_id).state is state
    assert store.releases.reviews() == []
    assert store.releases.deployed() is None


def test_approval_of_another_policy_than_shown_is_refused(store: Store, candidate, waiting, at) -> None:
    cycle = waiting(candidate())
    for act in (store.releases.approve, store.releases.reject):
        with pytest.raises(StateError, match="offers policy"):
            act(cycle.id, bound_digest="f" * 64, at=at(9), **BY)
    _nothing_happened(store, cycle.id, CycleState.WAITING)


@pytest.mark.parametrize("blank", [{"reason": " \n"}, {"who": ""}])
def test_a_review_without_name_or_reason_is_refused(store: Store, candidate, waiting, at, blank) -> None:
    winner = candidate()
    cycle = waiting(winner)
    for act in (store.releases.approve, store.releases.reject):
        with pytest.raises(StateError, match="missing"):
            act(cycle.id, bound_digest=winner.policy.digest, at=at(9), **(BY | blank))
    _nothing_happened(store, cycle.id, CycleState.WAITING)


def test_only_a_waiting_cycle_is_approved(store: Store, base, candidate, at) -> None:
    cycle = store.cycles.create(incumbent=base, seed=1, config_digest="c", config={}, at=at(0))
    with pytest.raises(StateError, match="does not wait"):
        store.releases.approve(cycle.id, bound_digest="f" * 64, at=at(1), **BY)
    with pytest.raises(StateError, match="no cycle 99"):
        store.releases.approve(99, bound_digest="f" * 64, at=at(1), **BY)
    store.cycles.advance(cycle.id, "running", "waiting_for_approval", "decide", at(2))
    with pytest.raises(StateError, match="no winner"):
        store.releases.approve(cycle.id, bound_digest="f" * 64, at=at(3), **BY)
    _nothing_happened(store, cycle.id, CycleState.WAITING)


def test_rejection_ends_the_cycle_without_a_release(store: Store, base, candidate, waiting, at) -> None:
    initial = store.releases.record_initial(base, at(0))
    winner = candidate()
    cycle = waiting(winner)
    ended = store.releases.reject(cycle.id, bound_digest=winner.policy.digest, at=at(9), **BY)
    assert (ended.state, ended.ended_at) == (CycleState.REJECTED, at(9))
    assert store.releases.deployed() == initial
    with pytest.raises(StateError, match="is rejected"):
        store.releases.approve(cycle.id, bound_digest=winner.policy.digest, at=at(10), **BY)
    assert [review.action for review in store.releases.reviews()] == ["reject"]


def test_of_two_reviewers_at_once_one_decides(store: Store, candidate, waiting, at) -> None:
    winner = candidate()
    cycle = waiting(winner)
    late: list[str] = []
    start = threading.Barrier(2)

    def review(act) -> None:
        start.wait()
        try:
            act(cycle.id, bound_digest=winner.policy.digest, at=at(9), **BY)
        except StateError as error:
            late.append(str(error))

    threads = [
        threading.Thread(target=review, args=(act,))
        for act in (store.releases.approve, store.releases.reject)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(late) == len(store.releases.reviews(cycle.id)) == 1


def test_a_winner_over_a_policy_no_longer_deployed_is_refused(
    store: Store, base, candidate, approve, waiting, at
) -> None:
    store.releases.record_initial(base, at(0))
    first = candidate(adapter="a")
    approve(first, base)
    second = candidate(parent=first.policy, adapter="e")
    cycle = waiting(second, first.policy)
    store.releases.rollback(at=at(20), **BY)
    with pytest.raises(StateError, match="is deployed now"):
        store.releases.approve(cycle.id, bound_digest=second.policy.digest, at=at(21), **BY)
    store.releases.reject(cycle.id, bound_digest=second.policy.digest, at=at(22), **BY)


def test_rollbacks_go_back_step_by_step_and_never_to_what_was_withdrawn(
    store: Store, base, candidate, approve, at
) -> None:
    store.releases.record_initial(base, at(0))
    first = candidate(adapter="a")
    second = candidate(parent=first.policy, adapter="e")
    approve(first, base)
    withdrawn = approve(second, first.policy)

    once = store.releases.rollback(at=at(30), **BY)
    assert (once.kind, once.policy_digest) == ("rollback", first.policy.digest)
    review = store.releases.reviews()[-1]
    assert (review.action, review.cycle_id) == ("rollback", withdrawn.cycle_id)
    assert (review.policy_digest, review.bound_digest) == (first.policy.digest, second.policy.digest)
    assert store.cycles.get(withdrawn.cycle_id or 0).state is CycleState.RELEASED
    twice = store.releases.rollback(at=at(31), **BY)
    assert twice.policy_digest == base.digest
    with pytest.raises(StateError, match="no earlier release"):
        store.releases.rollback(at=at(32), **BY)
    assert [row.kind for row in store.releases.history()] == [
        "rollback",
        "rollback",
        "promotion",
        "promotion",
        "initial",
    ]


def test_a_promotion_after_a_rollback_falls_back_to_what_it_replaced(
    store: Store, base, candidate, approve, at
) -> None:
    store.releases.record_initial(base, at(0))
    approve(candidate(adapter="a"), base)
    store.releases.rollback(at=at(20), **BY)
    approve(candidate(adapter="e"), base)
    assert store.releases.rollback(at=at(40), **BY).policy_digest == base.digest


def test_rollback_needs_a_release_a_reason_and_the_expected_release(
    store: Store, base, candidate, approve, at
) -> None:
    with pytest.raises(StateError, match="no earlier release"):
        store.releases.rollback(at=at(0), **BY)
    store.releases.record_initial(base, at(0))
    now = approve(candidate(), base)
    with pytest.raises(StateError, match="reason"):
        store.releases.rollback(at=at(20), who="Dr Ada", reason="")
    store.releases.rollback(at=at(21), expected_release_id=now.id, **BY)
    with pytest.raises(StateError, match=r"no earlier|look again"):
        store.releases.rollback(at=at(22), expected_release_id=now.id, **BY)
    assert len(store.releases.history()) == 3


def test_serving_is_what_the_server_confirmed_first(store: Store, base, candidate, approve, at) -> None:
    initial = store.releases.record_initial(base, at(0))
    assert store.releases.serving() is None
    store.releases.mark_serving(initial.id, at(1))
    store.releases.mark_serving(initial.id, at(2))
    serving = store.releases.serving()
    assert serving is not None
    assert serving.serving_at == at(1)
    promoted = approve(candidate(), base)
    assert store.releases.serving() == serving  # desired, not confirmed yet
    store.releases.mark_serving(promoted.id, at(20))
    assert store.releases.serving() == store.releases.deployed()
    with pytest.raises(StateError, match="no release 77"):
        store.releases.mark_serving(77, at(21))


def test_a_moved_adapter_is_found_where_it_lies_now(store: Store, base, at) -> None:
    adapter = Policy(base.base_digest, "a" * 64, Path("/old/a"))
    store.releases.save_policy(adapter, at(0))
    store.releases.save_policy(Policy(base.base_digest, "a" * 64, Path("/new/a")), at(1))
    assert store.releases.policy(adapter.digest).adapter_path == Path("/new/a")
    store.releases.save_policy(Policy(base.base_digest, "a" * 64), at(2))  # says nothing about the place
    assert store.releases.policy(adapter.digest).adapter_path == Path("/new/a")
    with pytest.raises(StateError, match="no policy"):
        store.releases.policy("unknown")
