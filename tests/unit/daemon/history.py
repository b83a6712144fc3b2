"""A store with a history: a release, a decided cycle that waits, sentinel runs, costs."""

from __future__ import annotations

from datetime import datetime, timedelta

from daemon.store.store import Store
from policies.records import Candidate, Policy

BASE = Policy("b" * 64)
SCORECARDS = {
    "incumbent": {
        "ss": {"estimate": 0.41, "low": 0.35, "high": 0.47},
        "err": {"estimate": 0.02, "low": 0.0, "high": 0.05},
    },
    "winner": {
        "ss": {"estimate": 0.88, "low": 0.83, "high": 0.92},
        "err": {"estimate": 0.06, "low": 0.02, "high": 0.11},
    },
    "empty": {"ss": None, "err": None},
}


def decision_body(winner_key: str) -> dict[str, object]:
    cards = {
        BASE.digest: SCORECARDS["incumbent"],
        winner_key: SCORECARDS["winner"],
        "k" * 64: SCORECARDS["empty"],
    }
    return {
        "sentence": "dpo is safer and as helpful.",
        "names": {BASE.digest: "incumbent", winner_key: "dpo", "k" * 64: "kto"},
        "scorecards": cards,
        "alpha": {"budget": 0.05, "spent": 0.01, "remaining": 0.04},
        "warnings": ["the same judge trains and validates"],
    }


def later(start: datetime, seconds: float) -> datetime:
    return start + timedelta(seconds=seconds)


def make_history(
    store: Store, start: datetime, candidate: Candidate, *, state: str = "waiting_for_approval"
) -> int:
    """Fills the store; returns the cycle's number."""
    store.releases.record_initial(BASE, start)
    cycle = store.cycles.create(
        incumbent=BASE, seed=7, config_digest="c" * 64, config={}, at=later(start, 10), stage="prepare"
    )
    for number, (name, seconds) in enumerate((("prepare", 1.5), ("sample", 30.0), ("judge", 4.25))):
        store.cycles.start_stage(cycle.id, name, later(start, 20 + number))
        store.cycles.finish_stage(cycle.id, name, later(start, 21 + number), seconds=seconds)
    store.results.save_candidate(cycle.id, candidate, later(start, 30))
    store.results.save_decision(
        cycle.id,
        outcome="promote",
        winner_key=candidate.key,
        body=decision_body(candidate.key),
        at=later(start, 40),
    )
    for digest, agreed in (("old" + "0" * 61, 30), ("new" + "0" * 61, 57)):
        store.answers.save_judge(digest, "embedded", "LocalJudge", {}, start)
        store.evidence.save_sentinel_run(
            cycle_id=cycle.id,
            judge_digest=digest,
            set_digest="s" * 64,
            n=60,
            agreed=agreed,
            lower_limit=50,
            drifted=agreed < 50,
            at=later(start, 15),
        )
        store.evidence.charge(judge_digest=digest, cycle_id=cycle.id, at=start, calls=100, cost_usd=0.125)
    store.cycles.advance(cycle.id, "running", state, "decide", later(start, 50), message="to be read")
    return cycle.id
