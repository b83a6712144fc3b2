"""Cycles: their state, their stages and the log of both. What a cycle made is in results.py."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, update

from daemon.store.engine import deciding, reading, writing
from daemon.store.rows import (
    FINAL,
    UNFINISHED,
    CycleRow,
    CycleState,
    EventRow,
    StageRow,
)
from daemon.store.sql import add, all_rows, columns, first_row, log_event, save_policy, upsert
from daemon.store.tables import cycles, events, stages
from policies.errors import StateError
from policies.records import Policy


class Cycles:
    """At most one cycle is unfinished. Every change of state is a compare-and-set and an event."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # --- state ----------------------------------------------------------------------------------------

    def create(
        self,
        *,
        incumbent: Policy,
        seed: int,
        config_digest: str,
        config: Mapping[str, Any],
        at: datetime,
        stage: str = "sample",
    ) -> CycleRow:
        """A new running cycle. StateError while another one is unfinished."""
        with deciding(self._engine) as connection:
            _refuse_second(connection)
            save_policy(connection, incumbent, at)
            cycle_id = add(
                connection,
                cycles,
                state=CycleState.RUNNING.value,
                stage=stage,
                incumbent_digest=incumbent.digest,
                seed=seed,
                config_digest=config_digest,
                config=dict(config),
                started_at=at,
                updated_at=at,
                unfinished=1,
            )
            log_event(connection, "cycle_created", at, cycle_id, incumbent=incumbent.digest, seed=seed)
            return find_cycle(connection, cycle_id)

    def get(self, cycle_id: int) -> CycleRow:
        """StateError for an unknown one."""
        with reading(self._engine) as connection:
            return find_cycle(connection, cycle_id)

    def latest(self) -> CycleRow | None:
        rows = self.recent(limit=1)
        return rows[0] if rows else None

    def recent(self, limit: int = 100) -> list[CycleRow]:
        """The newest cycles first."""
        order = columns(cycles, CycleRow).order_by(cycles.c.id.desc()).limit(limit)
        with reading(self._engine) as connection:
            return all_rows(connection, order, CycleRow)

    def open_cycle(self) -> CycleRow | None:
        """The one unfinished cycle (running, waiting_for_approval or held), or None."""
        with reading(self._engine) as connection:
            return _unfinished(connection)

    def advance(
        self,
        cycle_id: int,
        expected_state: CycleState | str,
        state: CycleState | str,
        stage: str,
        at: datetime,
        message: str | None = None,
    ) -> CycleRow:
        """Moves a cycle on if it still is in `expected_state`; StateError if somebody else moved it.

        Finished cycles stay finished, but a failed one may run again. `released` and `rejected` are refused:
        they belong to a person's review (Releases.approve, Releases.reject).
        """
        before, after = _state(expected_state), _state(state)
        if before in FINAL:
            raise StateError(f"cycle {cycle_id}: {before} is final; start a new cycle")
        if after in (CycleState.RELEASED, CycleState.REJECTED):
            raise StateError(
                f"cycle {cycle_id}: only a person's review leads to {after}; use approve or reject"
            )
        with deciding(self._engine) as connection:
            if before not in UNFINISHED and after in UNFINISHED:
                _refuse_second(connection)
            move(connection, cycle_id, before, after, stage, at, message)
            return find_cycle(connection, cycle_id)

    # --- stages ---------------------------------------------------------------------------------------

    def start_stage(self, cycle_id: int, name: str, at: datetime) -> None:
        """Starts a stage, or again after a crash: its first start and its seconds so far are kept."""
        row = {"cycle_id": cycle_id, "name": name, "status": "running", "started_at": at, "ended_at": None}
        with writing(self._engine) as connection:
            find_cycle(connection, cycle_id)
            upsert(connection, stages, [row | {"seconds": 0.0}], ["cycle_id", "name"], ["status", "ended_at"])
            log_event(connection, "stage_started", at, cycle_id, stage=name)

    def add_stage_seconds(self, cycle_id: int, name: str, seconds: float) -> None:
        """Adds work done so far, so that a killed process loses only what it did since."""
        with writing(self._engine) as connection:
            _change_stage(connection, cycle_id, name, seconds=stages.c.seconds + seconds)

    def finish_stage(
        self,
        cycle_id: int,
        name: str,
        at: datetime,
        *,
        seconds: float = 0.0,
        detail: Mapping[str, Any] | None = None,
        failed: bool = False,
    ) -> None:
        """Ends a stage and adds the `seconds` not added yet. StateError where it was never started."""
        status = "failed" if failed else "done"
        body = None if detail is None else dict(detail)
        total = stages.c.seconds + seconds
        with writing(self._engine) as connection:
            _change_stage(connection, cycle_id, name, status=status, ended_at=at, seconds=total, detail=body)
            log_event(connection, "stage_ended", at, cycle_id, stage=name, status=status)

    def stages(self, cycle_id: int) -> list[StageRow]:
        """The stages in the order of their first start."""
        statement = columns(stages, StageRow).where(stages.c.cycle_id == cycle_id)
        with reading(self._engine) as connection:
            return all_rows(connection, statement.order_by(stages.c.started_at, stages.c.name), StageRow)

    def stage_seconds(self, cycle_id: int) -> dict[str, float]:
        """Seconds by stage, summed over restarts."""
        return {stage.name: stage.seconds for stage in self.stages(cycle_id)}

    # --- log ------------------------------------------------------------------------------------------

    def events(self, cycle_id: int | None = None, after_id: int = 0, limit: int = 1000) -> list[EventRow]:
        """The log of transitions in order, of one cycle or of all, from `after_id` (excluded) on."""
        statement = columns(events, EventRow).where(events.c.id > after_id).order_by(events.c.id).limit(limit)
        if cycle_id is not None:
            statement = statement.where(events.c.cycle_id == cycle_id)
        with reading(self._engine) as connection:
            return all_rows(connection, statement, EventRow)

    def log(self, kind: str, at: datetime, cycle_id: int | None = None, **body: Any) -> None:
        """Appends an event of the caller's own. No prompts or answers in it: they are patient data."""
        with writing(self._engine) as connection:
            log_event(connection, kind, at, cycle_id, **body)


def find_cycle(connection: Connection, cycle_id: int) -> CycleRow:
    """The cycle; StateError for an unknown one."""
    cycle = first_row(connection, columns(cycles, CycleRow).where(cycles.c.id == cycle_id), CycleRow)
    if cycle is None:
        place = connection.engine.url.render_as_string(hide_password=True)
        raise StateError(
            f"there is no cycle {cycle_id} in {place}; `primum cycle list` shows those there are"
        )
    return cycle


def move(
    connection: Connection,
    cycle_id: int,
    before: CycleState,
    after: CycleState,
    stage: str,
    at: datetime,
    message: str | None = None,
) -> None:
    """The compare-and-set on a cycle's state, and its event; callers check that the step is allowed."""
    unfinished = after in UNFINISHED
    changed = connection.execute(
        update(cycles)
        .where(cycles.c.id == cycle_id, cycles.c.state == before.value)
        .values(
            state=after.value,
            stage=stage,
            message=message,
            updated_at=at,
            ended_at=None if unfinished else at,
            unfinished=1 if unfinished else None,
        )
    )
    if changed.rowcount != 1:
        now = find_cycle(connection, cycle_id).state
        raise StateError(f"cycle {cycle_id} is {now}, not {before}; look at `primum cycle show {cycle_id}`")
    body = {"from": before.value, "to": after.value, "stage": stage, "message": message}
    log_event(connection, "cycle_moved", at, cycle_id, **body)


def _state(word: CycleState | str) -> CycleState:
    try:
        return CycleState(word)
    except ValueError:
        raise StateError(f"{word} is no state of a cycle; states are {', '.join(CycleState)}") from None


def _unfinished(connection: Connection) -> CycleRow | None:
    return first_row(connection, columns(cycles, CycleRow).where(cycles.c.unfinished == 1), CycleRow)


def _refuse_second(connection: Connection) -> None:
    other = _unfinished(connection)
    if other is not None:
        raise StateError(
            f"cycle {other.id} is {other.state}; finish it (run, approve or reject) before a new one"
        )


def _change_stage(connection: Connection, cycle_id: int, name: str, **values: Any) -> None:
    which = (stages.c.cycle_id == cycle_id, stages.c.name == name)
    if connection.execute(update(stages).where(*which).values(**values)).rowcount != 1:
        raise StateError(f"cycle {cycle_id} has no stage {name} that was started")
