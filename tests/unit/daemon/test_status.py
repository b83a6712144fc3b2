"""What the page, the API and `primum status` tell is what the store holds."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from daemon.stages import STAGES
from daemon.status import status
from daemon.store.store import Store
from policies.records import Candidate
from tests.unit.daemon.history import BASE, SCORECARDS, make_history

Instant = Callable[[float], datetime]


def test_empty_store_has_nothing_to_tell(store: Store) -> None:
    found = status(store, base_name="m")
    assert (found["deployed"], found["cycle"], found["decisions"]) == (None, None, [])
    assert (found["commands"], found["warnings"]) == (None, [])


def test_deployed_policy_is_the_last_release(
    store: Store, at: Instant, candidate: Callable[..., Candidate]
) -> None:
    cycle_id = make_history(store, at(0), candidate("dpo"))
    before = status(store, base_name="m")["deployed"]
    assert (before["name"], before["kind"], before["serving"], before["base"]) == (
        "base",
        "initial",
        False,
        "m",
    )
    winner = store.results.winner(cycle_id)
    assert winner is not None
    assert winner.policy_digest is not None
    release = store.releases.approve(
        cycle_id, bound_digest=winner.policy_digest, who="a", reason="b", at=at(60)
    )
    store.releases.mark_serving(release.id, at(61))
    after = status(store, base_name="m")["deployed"]
    assert (after["digest"], after["release"], after["serving"]) == (winner.policy_digest, release.id, True)
    assert after["name"] == candidate("dpo").policy.adapter_name
    assert after["since"] == "2026-03-01 12:01 UTC"


def test_stages_are_all_told_with_their_seconds(
    store: Store, at: Instant, candidate: Callable[..., Candidate]
) -> None:
    cycle_id = make_history(store, at(0), candidate("dpo"))
    cycle = status(store, base_name="m")["cycle"]
    assert [stage["name"] for stage in cycle["stages"]] == list(STAGES)
    seconds = {stage["name"]: stage["seconds"] for stage in cycle["stages"] if stage["seconds"] is not None}
    assert seconds == store.cycles.stage_seconds(cycle_id) == {"prepare": 1.5, "sample": 30.0, "judge": 4.25}
    assert [stage["state"] for stage in cycle["stages"]] == ["done"] * 3 + ["waiting"] * 4


def test_version_is_the_one_of_the_project(store: Store) -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert status(store, base_name="m")["version"] == project["version"]


def test_decision_is_told_with_its_figures(
    store: Store, at: Instant, candidate: Callable[..., Candidate]
) -> None:
    make_history(store, at(0), candidate("dpo"))
    (decision,) = status(store, base_name="m")["decisions"]
    assert (decision["outcome"], decision["reason"]) == ("promote", "dpo is safer and as helpful.")
    told = {policy["name"]: policy for policy in decision["policies"]}
    for name, card in (("incumbent", "incumbent"), ("dpo", "winner")):
        for figure in ("ss", "err"):
            interval = SCORECARDS[card][figure]
            assert interval is not None
            assert told[name][figure] == interval["estimate"]
            assert told[name][f"{figure}_interval"] == (interval["low"], interval["high"])
    assert told["kto"]["ss"] is None
    assert told["kto"]["ss_interval"] is None


def test_commands_are_offered_only_while_a_cycle_waits(
    store: Store, at: Instant, candidate: Callable[..., Candidate]
) -> None:
    cycle_id = make_history(store, at(0), candidate("dpo"))
    commands = status(store, base_name="m", arguments="--data-dir d")["commands"]
    assert commands["approve"] == f'primum approve {cycle_id} --reason "…" --data-dir d'
    assert commands["reject"].startswith(f"primum reject {cycle_id} ")
    store.releases.reject(
        cycle_id, bound_digest=candidate("dpo").policy.digest, who="a", reason="b", at=at(60)
    )
    assert status(store, base_name="m")["commands"] is None


@pytest.mark.parametrize("state", ["held", "failed"])
def test_cycle_that_stopped_is_a_warning_with_its_reason(
    store: Store, at: Instant, candidate: Callable[..., Candidate], state: str
) -> None:
    cycle_id = make_history(store, at(0), candidate("dpo"), state=state)
    warnings = status(store, base_name="m")["warnings"]
    assert warnings[0] == f"Cycle {cycle_id} is {state}: to be read"


def test_warnings_of_a_decision_are_passed_on(
    store: Store, at: Instant, candidate: Callable[..., Candidate]
) -> None:
    make_history(store, at(0), candidate("dpo"))
    assert status(store, base_name="m")["warnings"] == ["the same judge trains and validates"]


def test_open_cycle_is_told_rather_than_the_last(store: Store, at: Instant) -> None:
    store.releases.record_initial(BASE, at(0))
    first = store.cycles.create(incumbent=BASE, seed=1, config_digest="c", config={}, at=at(1))
    store.cycles.advance(first.id, "running", "no_winner", "decide", at(2))
    assert status(store, base_name="m")["cycle"]["state"] == "no_winner"
    second = store.cycles.create(incumbent=BASE, seed=2, config_digest="c", config={}, at=at(3))
    assert status(store, base_name="m")["cycle"]["id"] == str(second.id)
