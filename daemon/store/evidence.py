"""What makes a figure believable: calibrations, labels, sentinel, incidents, openings, ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, select, update

from daemon.store.engine import deciding, reading, writing
from daemon.store.rows import CalibrationRow, HumanLabel, IncidentRow, SentinelRow, Spent
from daemon.store.sql import add, all_rows, columns, first_row, insert_or_ignore, required, upsert
from daemon.store.tables import (
    calibrations,
    human_labels,
    incidents,
    ledger,
    prompts,
    sentinel_runs,
    split_openings,
)
from policies.errors import StateError
from policies.records import Prompt

_SUMMED = ("calls", "prompt_tokens", "completion_tokens", "cost_usd", "gpu_seconds")


class Evidence:
    """Append-only, but for a label that its own author corrects and an incident that is closed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def save_calibration(
        self, judge_digest: str, labels_digest: str, body: Mapping[str, Any], at: datetime
    ) -> int:
        """Keeps one calibration; returns its id."""
        row = {"judge_digest": judge_digest, "labels_digest": labels_digest, "body": dict(body), "at": at}
        with writing(self._engine) as connection:
            return add(connection, calibrations, **row)

    def calibration(self, judge_digest: str) -> CalibrationRow | None:
        """The judge's last calibration. Another digest is another judge and has none."""
        statement = columns(calibrations, CalibrationRow).where(calibrations.c.judge_digest == judge_digest)
        order = statement.order_by(calibrations.c.at.desc(), calibrations.c.id.desc()).limit(1)
        with reading(self._engine) as connection:
            return first_row(connection, order, CalibrationRow)

    def save_labels(self, labels: Iterable[HumanLabel]) -> int:
        """Keeps people's labels; a person's later label of the same answer replaces the earlier."""
        rows = [asdict(label) | {"label": label.label.value} for label in labels]
        keys, replaced = ["prompt_digest", "answer_digest", "who"], ["label", "at"]
        with writing(self._engine) as connection:
            return upsert(connection, human_labels, rows, keys, replaced)

    def labels(self) -> list[HumanLabel]:
        """Every person's label, in the order they were first given."""
        order = columns(human_labels, HumanLabel).order_by(human_labels.c.id)
        with reading(self._engine) as connection:
            return all_rows(connection, order, HumanLabel)

    def save_sentinel_run(
        self,
        *,
        cycle_id: int | None,
        judge_digest: str,
        set_digest: str,
        n: int,
        agreed: int,
        lower_limit: float,
        drifted: bool,
        at: datetime,
    ) -> int:
        """Keeps one run of the sentinel set, `agreed` of `n` against the control limit; returns its id."""
        counts = {"n": n, "agreed": agreed, "lower_limit": lower_limit, "drifted": drifted}
        row = {"cycle_id": cycle_id, "judge_digest": judge_digest, "set_digest": set_digest, "at": at}
        with writing(self._engine) as connection:
            return add(connection, sentinel_runs, **row, **counts)

    def sentinel_runs(self, judge_digest: str, limit: int = 100) -> list[SentinelRow]:
        """The judge's newest runs first."""
        statement = columns(sentinel_runs, SentinelRow).where(sentinel_runs.c.judge_digest == judge_digest)
        with reading(self._engine) as connection:
            order = statement.order_by(sentinel_runs.c.id.desc()).limit(limit)
            return all_rows(connection, order, SentinelRow)

    def add_incident(
        self, prompt: Prompt, *, severity: str, note: str, who: str, source: str, at: datetime
    ) -> int:
        """Keeps a prompt on which a deployed model once failed; returns the incident's id."""
        row = {"prompt_digest": prompt.digest, "severity": required(severity, "the severity"), "note": note}
        with writing(self._engine) as connection:
            insert_or_ignore(connection, prompts, [{"digest": prompt.digest, **asdict(prompt)}])
            return add(connection, incidents, **row, who=required(who, "the name"), source=source, at=at)

    def incidents(self, include_closed: bool = False) -> list[IncidentRow]:
        """Incidents in the order they were entered. Their prompts: Answers.prompts_for."""
        statement = columns(incidents, IncidentRow).order_by(incidents.c.id)
        if not include_closed:
            statement = statement.where(incidents.c.closed_at.is_(None))
        with reading(self._engine) as connection:
            return all_rows(connection, statement, IncidentRow)

    def close_incident(self, incident_id: int, at: datetime) -> None:
        """StateError for one that is unknown or closed."""
        still_open = (incidents.c.id == incident_id, incidents.c.closed_at.is_(None))
        with deciding(self._engine) as connection:
            if connection.execute(update(incidents).where(*still_open).values(closed_at=at)).rowcount != 1:
                raise StateError(f"there is no open incident {incident_id}")

    def open_split(
        self, split_digest: str, split: str, purpose: str, cycle_id: int | None, at: datetime
    ) -> int:
        """Counts an opening of a split, once a cycle and purpose; returns how often it was opened."""
        row = {
            "split_digest": split_digest,
            "split": split,
            "purpose": purpose,
            "cycle_id": cycle_id,
            "at": at,
        }
        with writing(self._engine) as connection:
            insert_or_ignore(connection, split_openings, [row])
        return self.openings(split_digest, split)

    def openings(self, split_digest: str, split: str) -> int:
        """How often a split has been opened. A rotated split has another digest and starts at 0."""
        same = (split_openings.c.split_digest == split_digest, split_openings.c.split == split)
        statement = select(func.count()).select_from(split_openings).where(*same)
        with reading(self._engine) as connection:
            return int(connection.execute(statement).scalar_one())

    def charge(
        self,
        *,
        judge_digest: str,
        cycle_id: int | None,
        at: datetime,
        calls: int = 0,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
        cost_usd: float = 0.0,
        gpu_seconds: float = 0.0,
    ) -> None:
        """Books what a judge's calls cost. Not idempotent: a call paid for twice counts twice."""
        tokens = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
        cost = {"calls": calls, **tokens, "cost_usd": cost_usd, "gpu_seconds": gpu_seconds}
        with writing(self._engine) as connection:
            add(connection, ledger, judge_digest=judge_digest, cycle_id=cycle_id, at=at, **cost)

    def spent(self, *, cycle_id: int | None = None, judge_digest: str | None = None) -> Spent:
        """Sums of the ledger: of one cycle, of one judge, of both, or of everything."""
        statement = select(*(func.coalesce(func.sum(ledger.c[name]), 0) for name in _SUMMED))
        if cycle_id is not None:
            statement = statement.where(ledger.c.cycle_id == cycle_id)
        if judge_digest is not None:
            statement = statement.where(ledger.c.judge_digest == judge_digest)
        with reading(self._engine) as connection:
            return Spent(*connection.execute(statement).one())
