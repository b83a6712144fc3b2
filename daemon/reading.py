"""What is read back from the store for people: a candidate's answers beside the incumbent's, and how each
method did in every decided cycle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from daemon.stages import COMPARED
from daemon.store.rows import CandidateRow, CycleRow, DecisionRow
from daemon.store.store import Store
from policies.digests import short
from policies.errors import StateError
from policies.records import Judged
from policies.validation.methods import MethodPoint

_ALL = 10_000  # cycles: more than any deployment will see


@dataclass(frozen=True)
class Compared:
    """The judged answers of incumbent and candidate `name` to a cycle's selection prompts."""

    name: str
    before: list[Judged]
    after: list[Judged]


def compared(store: Store, cycle: CycleRow, name: str | None) -> Compared:
    """Answers by the judge that decided the cycle, or will when people have labelled enough.

    Without a name it is the winner, the one that led on the selection split, or the only one. StateError
    where nothing was compared yet, or the name is unknown or needed.
    """
    keys, leader = _whom(store, cycle)
    row = _candidate(store, cycle.id, keys, leader, name)
    judge = _judge_digest(store, cycle.id, row)
    before, after = (
        store.answers.judged(cycle.id, "selection", policy, judge)
        for policy in (cycle.incumbent_digest, row.policy_digest or "")
    )
    if not before or not after:
        raise StateError(f"cycle {cycle.id}: the answers of incumbent and {row.method} are no longer stored")
    return Compared(row.method, before, after)


def _whom(store: Store, cycle: CycleRow) -> tuple[set[str], str | None]:
    """(keys of the candidates that were compared, the leader's), by the decision or the stage before it."""
    decision = store.results.decision(cycle.id)
    if decision is not None:
        leader = decision.winner_key or decision.body.get("provisional_key")
        return set(decision.body.get("names") or {}), leader
    told = _validated(store, cycle.id)
    if told is None:
        raise StateError(f"cycle {cycle.id} is {cycle.state.value} and not decided, so nothing was compared")
    return set(told["keys"]), None


def _validated(store: Store, cycle_id: int) -> dict[str, Any] | None:
    stages = {one.name: one for one in store.cycles.stages(cycle_id)}
    validate = stages.get("validate")
    found: dict[str, Any] | None = (validate.detail or {}).get(COMPARED) if validate else None
    return found


def _candidate(
    store: Store, cycle: int, keys: Collection[str], leader: str | None, name: str | None
) -> CandidateRow:
    # A recipe may have been trained twice in a cycle; `keys` say which of them was compared.
    trained = [
        row for row in store.results.candidates(cycle) if row.policy_digest is not None and row.key in keys
    ]
    names = ", ".join(row.method for row in trained) or "none"
    if name is not None:
        found = [row for row in trained if name in (row.method, row.key)]
        problem = f"no candidate of this name ({name!r}); candidates: {names}"
    else:
        found = [row for row in trained if row.key == leader] or trained
        problem = f"name the candidate with --candidate ({names})"
    if len(found) != 1:
        raise StateError(f"cycle {cycle}: {problem}")
    return found[0]


def _judge_digest(store: Store, cycle_id: int, row: CandidateRow) -> str:
    for card in store.results.scorecards(cycle_id, "selection"):
        if card.policy_digest == row.policy_digest:
            return card.judge_digest
    if told := _validated(store, cycle_id):
        return str(told["judge"])
    raise StateError(f"cycle {cycle_id}: {row.method} has no scorecard, so the judge is not known")


def method_points(store: Store) -> list[MethodPoint]:
    """Every decided cycle's candidates, oldest first, by the validation judge and by the second one."""
    judge_names = {row.digest: row.name for row in store.answers.judges()}
    found: list[tuple[str, str, MethodPoint]] = []
    for cycle in reversed(store.cycles.recent(_ALL)):
        decision = store.results.decision(cycle.id)
        if decision is None:
            continue
        for row in store.results.candidates(cycle.id):
            found += _points(store, decision, row, judge_names)
    return _titled(found)


def _points(
    store: Store, decision: DecisionRow, row: CandidateRow, names: Mapping[str, str]
) -> list[tuple[str, str, MethodPoint]]:
    """(part, judge's name, point) where the candidate was compared."""
    body, found = decision.body, []
    cycle, winner = decision.cycle_id, row.key == decision.winner_key

    def add(part: str, judge: str, ss: Any, err: Any) -> None:
        if ss is not None:
            found.append((part, judge, MethodPoint(cycle, row.method, part, ss, err, winner)))

    card = (body.get("scorecards") or {}).get(row.key)
    if card is not None:
        digests = [
            one.judge_digest
            for one in store.results.scorecards(cycle, "selection")
            if one.policy_digest == row.policy_digest
        ]
        name = names.get(digests[0], short(digests[0])) if digests else ""
        add("validation judge", name, _estimate(card["ss"]), _estimate(card["err"]))
    second = ((body.get("comparisons") or {}).get(row.key) or {}).get("second")
    if second is not None:
        err = second["err"]
        add("reference judge", second["judge"], second["ss"]["after"], err and err["after"])
    return found


def _titled(found: list[tuple[str, str, MethodPoint]]) -> list[MethodPoint]:
    """A judge may have been replaced over the months: one column a part, named after all that played it."""
    played: dict[str, dict[str, None]] = {}
    for part, judge, _ in found:
        if judge:
            played.setdefault(part, {})[judge] = None
    titles = {part: f"{part} ({', '.join(judges)})" for part, judges in played.items()}
    return [
        MethodPoint(one.cycle, one.method, titles.get(part, part), one.ss, one.err, one.winner)
        for part, _, one in found
    ]


def _estimate(interval: Mapping[str, Any] | None) -> float | None:
    return None if interval is None else interval["estimate"]
