"""Column types that mean the same in SQLite and PostgreSQL: any text, aware instants and strict JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

from policies.errors import DataError, StateError

_ESCAPE, _NUL = "\ue07f", "\ue07e"  # from the area for private use: hardly ever met


class AnyText(TypeDecorator[str]):
    """Text as a model or an attacker wrote it. PostgreSQL keeps no NUL: there it is escaped, reversibly."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or dialect.name == "sqlite":
            return value
        return value.replace(_ESCAPE, _ESCAPE * 2).replace("\x00", _ESCAPE + _NUL)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or dialect.name == "sqlite" or _ESCAPE not in value:
            return value
        parts = value.split(_ESCAPE * 2)  # a pair is the sign itself, so what is left opens a NUL
        return _ESCAPE.join(part.replace(_ESCAPE + _NUL, "\x00") for part in parts)


class UtcDateTime(TypeDecorator[datetime]):
    """An instant. SQLite keeps no zone, so it is turned to UTC before and marked as UTC after."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise StateError("a time without a timezone cannot be stored; pass an aware datetime")
        instant = value.astimezone(UTC)
        return instant.replace(tzinfo=None) if dialect.name == "sqlite" else instant

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


def strict_json(value: Any) -> str:
    """The engine's JSON writer: NaN, infinities and foreign objects are refused."""
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"a value cannot be stored as JSON: {error}; replace it by null or a finite number"
        ) from error


def json_type() -> TypeEngine[Any]:
    """JSON in SQLite, JSONB in PostgreSQL; None is SQL NULL in both."""
    return JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
