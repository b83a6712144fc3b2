"""What a cycle made: candidates, scorecards and the decision."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select

from daemon.store.cycles import find_cycle
from daemon.store.engine import deciding, reading, writing
from daemon.store.rows import OUTCOMES, CandidateRow, CycleState, DecisionRow, ScorecardRow
from daemon.store.sql import all_rows, columns, first_row, log_event, policy_of, required, save_policy, upsert
from daemon.store.tables import candidates, decisions, policies, scorecards
from policies.digests import digest_of
from policies.errors import StateError
from policies.records import Candidate

_CANDIDATE_REPLACED = ("policy_digest", "status", "error", "card", "created_at")


class Results:
    """Candidates, scorecards and decisions by cycle. Every `save` may be repeated after a crash."""

    def __init__(self, engine: Engine, adapters_dir: Path | None = None) -> None:
        self._engine, self._adapters_dir = engine, adapters_dir

    def save_candidate(self, cycle_id: int, candidate: Candidate, at: datetime) -> None:
        """Keeps a trained candidate and its policy; it takes the place of a failed one of the same key."""
        row = {
            "cycle_id": cycle_id,
            "key": candidate.key,
            "method": candidate.method,
            "parent_digest": candidate.parent_digest,
            "preferences_digest": candidate.preferences_digest,
            "recipe_digest": candidate.recipe_digest,
            "policy_digest": candidate.policy.digest,
            "status": "trained",
            "error": None,
            "card": dict(candidate.card),
            "created_at": at,
        }
        with writing(self._engine) as connection:
            save_policy(connection, candidate.policy, at)
            _save_candidate(connection, row)

    def save_failed_candidate(
        self,
        cycle_id: int,
        *,
        method: str,
        parent_digest: str,
        preferences_digest: str,
        recipe_digest: str,
        error: str,
        at: datetime,
    ) -> None:
        """Keeps that a candidate could not be trained, and why. A trained one of the same key stays."""
        row = {
            "cycle_id": cycle_id,
            "key": digest_of([parent_digest, preferences_digest, recipe_digest]),
            "method": method,
            "parent_digest": parent_digest,
            "preferences_digest": preferences_digest,
            "recipe_digest": recipe_digest,
            "policy_digest": None,
            "status": "failed",
            "error": required(error, "the reason of the failed training"),
            "card": {},
            "created_at": at,
        }
        with writing(self._engine) as connection:
            _save_candidate(connection, row)

    def candidates(self, cycle_id: int) -> list[CandidateRow]:
        """The cycle's candidates, trained and failed, in the order of their methods' names."""
        statement = columns(candidates, CandidateRow).where(candidates.c.cycle_id == cycle_id)
        with reading(self._engine) as connection:
            order = statement.order_by(candidates.c.method, candidates.c.key)
            return all_rows(connection, order, CandidateRow)

    def trained(self, key: str) -> Candidate | None:
        """A candidate of this identity that any cycle trained: nothing is trained twice."""
        statement = (
            select(candidates, policies.c.base_digest, policies.c.adapter_digest, policies.c.adapter_path)
            .join(policies, policies.c.digest == candidates.c.policy_digest)
            .where(candidates.c.key == key, candidates.c.status == "trained")
            .order_by(candidates.c.cycle_id)
        )
        with reading(self._engine) as connection:
            row = connection.execute(statement).first()
        if row is None:
            return None
        return Candidate(
            row.method,
            row.parent_digest,
            row.preferences_digest,
            row.recipe_digest,
            policy_of(row, self._adapters_dir),
            row.card,
        )

    def save_scorecard(
        self,
        cycle_id: int,
        *,
        policy_digest: str,
        role: str,
        split: str,
        judge_digest: str,
        body: Mapping[str, Any],
        at: datetime,
    ) -> None:
        """Keeps one scorecard; the same cycle, role, policy, split and judge again replaces it."""
        row = {
            "cycle_id": cycle_id,
            "policy_digest": policy_digest,
            "role": role,
            "split": split,
            "judge_digest": judge_digest,
            "body": dict(body),
            "created_at": at,
        }
        identity = ["cycle_id", "role", "policy_digest", "split", "judge_digest"]
        with writing(self._engine) as connection:
            find_cycle(connection, cycle_id)
            upsert(connection, scorecards, [row], identity, ["body", "created_at"])

    def scorecards(self, cycle_id: int, split: str | None = None) -> list[ScorecardRow]:
        """The cycle's scorecards in the order they were first made."""
        statement = columns(scorecards, ScorecardRow).where(scorecards.c.cycle_id == cycle_id)
        if split is not None:
            statement = statement.where(scorecards.c.split == split)
        with reading(self._engine) as connection:
            return all_rows(connection, statement.order_by(scorecards.c.id), ScorecardRow)

    def save_decision(
        self, cycle_id: int, *, outcome: str, winner_key: str | None, body: Mapping[str, Any], at: datetime
    ) -> None:
        """Keeps the decision of a running cycle; afterwards it is what the reviewer saw, and it stays.

        Raises StateError for an unknown outcome, for `promote` without a trained winner of this cycle, and
        where the cycle is not running.
        """
        if outcome not in OUTCOMES:
            raise StateError(f"{outcome} is no outcome; outcomes are {', '.join(sorted(OUTCOMES))}")
        if (outcome == "promote") != (winner_key is not None):
            raise StateError(f"cycle {cycle_id}: promote names a winner, and nothing else does")
        row = {"cycle_id": cycle_id, "outcome": outcome, "winner_key": winner_key, "body": dict(body)}
        with deciding(self._engine) as connection:
            cycle = find_cycle(connection, cycle_id)
            if cycle.state is not CycleState.RUNNING:
                raise StateError(f"cycle {cycle_id} is {cycle.state}; only a running cycle is decided")
            if winner_key is not None:
                _trained_candidate(connection, cycle_id, winner_key)
            replaced = ["outcome", "winner_key", "body", "created_at"]
            upsert(connection, decisions, [row | {"created_at": at}], ["cycle_id"], replaced)
            log_event(connection, "decided", at, cycle_id, outcome=outcome, winner=winner_key)

    def decision(self, cycle_id: int) -> DecisionRow | None:
        """The cycle's decision, or None before there is one."""
        statement = columns(decisions, DecisionRow).where(decisions.c.cycle_id == cycle_id)
        with reading(self._engine) as connection:
            return first_row(connection, statement, DecisionRow)

    def winner(self, cycle_id: int) -> CandidateRow | None:
        """The candidate that the decision promotes, or None. An approval binds to its policy digest."""
        with reading(self._engine) as connection:
            return find_winner(connection, cycle_id)


def find_winner(connection: Connection, cycle_id: int) -> CandidateRow | None:
    """The candidate that the cycle's decision promotes."""
    same = (candidates.c.cycle_id == decisions.c.cycle_id) & (candidates.c.key == decisions.c.winner_key)
    statement = columns(candidates, CandidateRow).join(decisions, same)
    promoted = statement.where(decisions.c.cycle_id == cycle_id, decisions.c.outcome == "promote")
    return first_row(connection, promoted, CandidateRow)


def _save_candidate(connection: Connection, row: dict[str, Any]) -> None:
    find_cycle(connection, row["cycle_id"])
    failed = candidates.c.status == "failed"
    upsert(connection, candidates, [row], ["cycle_id", "key"], _CANDIDATE_REPLACED, where=lambda _new: failed)


def _trained_candidate(connection: Connection, cycle_id: int, key: str) -> None:
    which = (candidates.c.cycle_id == cycle_id, candidates.c.key == key, candidates.c.status == "trained")
    if connection.execute(select(candidates.c.key).where(*which)).first() is None:
        raise StateError(f"cycle {cycle_id} has no trained candidate {key[:12]}; it cannot win")
