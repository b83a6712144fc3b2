"""Small SQL helpers that read the same for SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Executable, Row, Select, Table, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from daemon.store import tables
from policies.errors import StateError
from policies.records import Policy

T = TypeVar("T")
Values = Mapping[str, Any]
Where = Callable[[Any], ColumnElement[bool]]

# SQLite's limit was 999 variables a statement in old builds.
CHUNK = 500


def insert_or_ignore(connection: Connection, table: Table, rows: Sequence[Values]) -> int:
    """Inserts what is not there yet; returns how many rows were new."""
    if not rows:
        return 0
    return _rowcount(connection, _conflicting(connection, table).on_conflict_do_nothing(), rows)


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Values],
    keys: Sequence[str],
    replace: Sequence[str],
    where: Where | None = None,
) -> int:
    """Inserts, and on equal `keys` replaces the columns `replace`, where `where(new row)` allows it.

    Returns how many rows were inserted or replaced.
    """
    if not rows:
        return 0
    statement = _conflicting(connection, table)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=list(keys),
        set_={name: new[name] for name in replace},
        where=None if where is None else where(new),
    )
    return _rowcount(connection, statement, rows)


def add(connection: Connection, table: Table, **values: Any) -> int:
    """Inserts one row of a numbered table; returns its id."""
    statement = insert(table).values(**values).returning(table.c.id)
    return int(connection.execute(statement).scalar_one())


def log_event(connection: Connection, kind: str, at: datetime, cycle_id: int | None, **body: Any) -> None:
    """Appends to the log of transitions, in the transaction of the transition itself."""
    add(connection, tables.events, at=at, cycle_id=cycle_id, kind=kind, body=body)


def save_policy(connection: Connection, policy: Policy, at: datetime) -> None:
    """Keeps a policy. The digest says what it is, the path only where it lies now: the last one counts."""
    row = {
        "digest": policy.digest,
        "base_digest": policy.base_digest,
        "adapter_digest": policy.adapter_digest,
        "adapter_path": None if policy.adapter_path is None else str(policy.adapter_path),
        "created_at": at,
    }
    if policy.adapter_path is None:
        insert_or_ignore(connection, tables.policies, [row])
    else:
        upsert(connection, tables.policies, [row], ["digest"], ["adapter_path"])


def policy_of(row: Any, adapters_dir: Path | None) -> Policy:
    """The policy of a row of `policies`. Its adapter lies in `adapters_dir`, where that has it: an
    installation may have been moved, or restored elsewhere. Else where it was put."""
    policy = Policy(row.base_digest, row.adapter_digest, row.adapter_path and Path(row.adapter_path))
    folder = adapters_dir and policy.adapter_name and adapters_dir / policy.adapter_name
    return replace(policy, adapter_path=folder) if folder and folder.is_dir() else policy


def columns(table: Table, kind: type[Any]) -> Select[Any]:
    """SELECT of the columns that the dataclass `kind` has fields for."""
    return select(*(table.c[field.name] for field in fields(kind)))


def as_row(row: Row[Any], kind: type[T]) -> T:
    return kind(**row._mapping)


def all_rows(connection: Connection, statement: Select[Any], kind: type[T]) -> list[T]:
    return [as_row(row, kind) for row in connection.execute(statement)]


def first_row(connection: Connection, statement: Select[Any], kind: type[T]) -> T | None:
    row = connection.execute(statement).first()
    return None if row is None else as_row(row, kind)


def chunks(values: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    rest = iter(values)
    while piece := list(islice(rest, size)):
        yield piece


def required(text: str, what: str) -> str:
    """`text` without blanks around it; StateError where nothing is left."""
    if not text.strip():
        raise StateError(f"{what} is missing; give it, it is kept with the record")
    return text.strip()


def _conflicting(connection: Connection, table: Table) -> Any:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def _rowcount(connection: Connection, statement: Executable, rows: Sequence[Values]) -> int:
    # Else SQLAlchemy forgets an INSERT's count, and PostgreSQL's driver says -1 once the cursor is closed.
    kept = statement.execution_options(preserve_rowcount=True)
    return int(connection.execute(kept, list(rows)).rowcount)
