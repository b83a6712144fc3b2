"""Each metric is the store's own figure, in a text that a Prometheus parser accepts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.metrics import metrics_text
from daemon.store.rows import CycleState
from daemon.store.store import Store
from policies.records import Candidate
from tests.unit.daemon.history import BASE, SCORECARDS, make_history

Samples = dict[tuple[str, tuple[str, ...]], float]


def scrape(store: Store, *, serving: bool = True) -> Samples:
    """(name, values of its labels) → value; no sample may come twice."""
    families = list(text_string_to_metric_families(metrics_text(store, serving=serving).decode()))
    pairs = [
        ((sample.name, tuple(sample.labels.values())), sample.value)
        for family in families
        for sample in family.samples
    ]
    assert all(count == 1 for count in Counter(key for key, _ in pairs).values())
    assert all(family.documentation and family.name.startswith("primum_") for family in families)
    return dict(pairs)


@pytest.fixture
def found(store: Store, at: Callable[[float], datetime], candidate: Callable[..., Candidate]) -> Samples:
    make_history(store, at(0), candidate("dpo"))
    return scrape(store)


def test_empty_store_can_be_scraped(store: Store) -> None:
    found = scrape(store)
    assert {found["primum_cycles", (state.value,)] for state in CycleState} == {0}
    assert found["primum_judge_calls", ()] == 0
    assert ("primum_release", ()) not in found
    assert not any(name == "primum_safety_score" for name, _ in found)


def test_cycles_are_counted_by_state(found: Samples) -> None:
    counts = {state: found["primum_cycles", (state.value,)] for state in CycleState}
    assert counts == {state: float(state is CycleState.WAITING) for state in CycleState}


def test_last_cycle_is_timed(found: Samples, store: Store, at: Callable[[float], datetime]) -> None:
    assert found["primum_cycle_last_started_timestamp_seconds", ()] == at(10).timestamp()
    stages = {key[1][0]: value for key, value in found.items() if key[0] == "primum_cycle_stage_seconds"}
    latest = store.cycles.latest()
    assert latest is not None
    assert stages == store.cycles.stage_seconds(latest.id)
    assert stages


def test_scores_are_those_of_the_last_decision(found: Samples) -> None:
    for name, card in (("incumbent", SCORECARDS["incumbent"]), ("dpo", SCORECARDS["winner"])):
        assert card["ss"] is not None
        assert card["err"] is not None
        assert found["primum_safety_score", (name,)] == card["ss"]["estimate"]
        assert found["primum_erroneous_refusal_rate", (name,)] == card["err"]["estimate"]
    assert ("primum_safety_score", ("kto",)) not in found, "a figure that is not known is not told as 0"


def test_error_budget_is_told(found: Samples) -> None:
    parts = {part: found["primum_error_budget", (part,)] for part in ("budget", "spent", "remaining")}
    assert parts == {"budget": 0.05, "spent": 0.01, "remaining": 0.04}


def test_sentinel_of_a_judge_is_its_latest_run_under_that_name(found: Samples) -> None:
    assert found["primum_judge_sentinel_agreement", ("embedded",)] == 57 / 60
    assert found["primum_judge_drifted", ("embedded",)] == 0


def test_costs_are_the_ledgers_sums(found: Samples, store: Store) -> None:
    spent = store.evidence.spent()
    assert (found["primum_judge_calls", ()], found["primum_judge_cost_usd", ()]) == (200, 0.25)
    assert (spent.calls, spent.cost_usd) == (200, 0.25)


def test_release_is_serving_once_it_is_confirmed(store: Store, at: Callable[[float], datetime]) -> None:
    release = store.releases.record_initial(BASE, at(0))
    assert scrape(store)["primum_release_serving", ()] == 0
    store.releases.mark_serving(release.id, at(1))
    after = scrape(store)
    assert (after["primum_release", ()], after["primum_release_serving", ()]) == (release.id, 1)
    assert scrape(store, serving=False)["primum_release_serving", ()] == 0, "it has lost it since"


def test_a_newer_cycle_without_a_decision_leaves_the_last_scores_standing(
    found: Samples, store: Store, at: Callable[[float], datetime], candidate: Callable[..., Candidate]
) -> None:
    latest = store.cycles.latest()
    assert latest is not None
    store.releases.reject(
        latest.id, bound_digest=candidate("dpo").policy.digest, who="a", reason="b", at=at(60)
    )
    store.cycles.create(incumbent=BASE, seed=8, config_digest="c", config={}, at=at(70))
    again = scrape(store)
    assert again["primum_safety_score", ("dpo",)] == found["primum_safety_score", ("dpo",)]
    assert again["primum_cycles", ("rejected",)] == again["primum_cycles", ("running",)] == 1
