"""What the store hands out about cycles, releases and evidence: small frozen rows, never database objects.

Field names are column names. Instants are aware, in UTC. JSON bodies are plain dictionaries and lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from policies.cares import Label


class CycleState(StrEnum):
    """Where a cycle stands. Only a person's review leads to RELEASED or REJECTED (releases.py)."""

    RUNNING = "running"
    WAITING = "waiting_for_approval"
    HELD = "held"
    RELEASED = "released"
    REJECTED = "rejected"
    NO_WINNER = "no_winner"
    FAILED = "failed"


UNFINISHED = frozenset({CycleState.RUNNING, CycleState.WAITING, CycleState.HELD})
FINAL = frozenset({CycleState.RELEASED, CycleState.REJECTED, CycleState.NO_WINNER})

OUTCOMES = frozenset({"promote", "reject", "inconclusive", "no_winner"})


@dataclass(frozen=True)
class CycleRow:
    """`message` says why a cycle is held or failed."""

    id: int
    state: CycleState
    stage: str
    message: str | None
    incumbent_digest: str
    seed: int
    config_digest: str
    config: dict[str, Any]
    started_at: datetime
    ended_at: datetime | None
    updated_at: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", CycleState(self.state))

    @property
    def finished(self) -> bool:
        return self.state not in UNFINISHED


@dataclass(frozen=True)
class StageRow:
    """`seconds` is the sum over restarts; `status` is running, done or failed."""

    cycle_id: int
    name: str
    status: str
    started_at: datetime
    ended_at: datetime | None
    seconds: float
    detail: dict[str, Any] | None


@dataclass(frozen=True)
class CandidateRow:
    """`status` is trained (then `policy_digest` is set) or failed (then `error` is)."""

    cycle_id: int
    key: str
    method: str
    parent_digest: str
    preferences_digest: str
    recipe_digest: str
    policy_digest: str | None
    status: str
    error: str | None
    card: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True)
class ScorecardRow:
    """`role` is base, incumbent or candidate."""

    id: int
    cycle_id: int
    policy_digest: str
    role: str
    split: str
    judge_digest: str
    body: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True)
class DecisionRow:
    """`outcome` is promote (then `winner_key` names a candidate), reject, inconclusive or no_winner."""

    cycle_id: int
    outcome: str
    winner_key: str | None
    body: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True)
class ReviewRow:
    """What a person decided: `action` is approve, reject or rollback; `bound_digest` what they saw."""

    id: int
    cycle_id: int | None
    action: str
    who: str
    reason: str
    policy_digest: str
    bound_digest: str
    at: datetime


@dataclass(frozen=True)
class ReleaseRow:
    """`kind` is initial, promotion or rollback. `serving_at` is None until the server has confirmed."""

    id: int
    policy_digest: str
    previous_id: int | None
    cycle_id: int | None
    review_id: int | None
    kind: str
    desired_at: datetime
    serving_at: datetime | None


@dataclass(frozen=True)
class EventRow:
    id: int
    at: datetime
    cycle_id: int | None
    kind: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """How far the asks of one purpose are. `judged` counts scored and unscored verdicts."""

    asked: int
    answered: int
    judged: int
    unscored: int


@dataclass(frozen=True)
class JudgeRow:
    digest: str
    name: str
    kind: str
    description: dict[str, Any]
    first_seen_at: datetime


@dataclass(frozen=True)
class CalibrationRow:
    id: int
    judge_digest: str
    labels_digest: str
    body: dict[str, Any]
    at: datetime


@dataclass(frozen=True)
class HumanLabel:
    """A person's label of one answer. A person who labels it again corrects it."""

    prompt_digest: str
    answer_digest: str
    prompt: str
    answer: str
    label: Label
    who: str
    at: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", Label(self.label))


@dataclass(frozen=True)
class SentinelRow:
    id: int
    cycle_id: int | None
    judge_digest: str
    set_digest: str
    n: int
    agreed: int
    lower_limit: float
    drifted: bool
    at: datetime


@dataclass(frozen=True)
class IncidentRow:
    id: int
    prompt_digest: str
    severity: str
    note: str
    who: str
    source: str
    at: datetime
    closed_at: datetime | None


@dataclass(frozen=True)
class Spent:
    """Sums over the ledger: calls, tokens, dollars, seconds of a GPU."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    gpu_seconds: float = 0.0
