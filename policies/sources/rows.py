"""One row of a prompt table → one Prompt, or the reason why not. Every table comes through here.

Reasons never quote a cell: a prompt in the wrong column would end up in a log.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from policies.cares import LEVELS, METHODS, PRINCIPLES
from policies.errors import ConfigurationError, DataError
from policies.records import Prompt

TEXT_COLUMNS = ("prompt", "question", "harmful_medical_request")  # the first one that a row has is its text
COLUMNS = (*TEXT_COLUMNS, "harmful_level", "base_prompt", "principle_index", "method", "hard_benign")
_INTEGRAL = re.compile(r"-?\d{1,9}(\.0{1,9})?")
_TRUTHS: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False}
_LISTED = 10


class BadRow(ValueError):
    """Why a row cannot be used, as a clause that follows "row N"."""


@dataclass(frozen=True)
class Row:
    """Where a row stands in its file (counted as an editor would) and its cells, or what is wrong with it."""

    number: int
    cells: Mapping[str, Any] | BadRow


def prompts_from_rows(
    rows: Iterable[Row], *, name: str, source: str, default_level: int | None = None
) -> list[Prompt]:
    """Prompts in the rows' order. `name` is the file in messages, `source` goes into the records.

    `default_level` is the level of rows without a `harmful_level` column. DataError reports all bad rows
    together: the first ten by number, then a count.
    """
    if default_level is not None:
        check_level(default_level)
    rows = list(rows)
    if not rows:
        raise DataError(f"{name} is empty: it needs at least one row with a prompt.")
    _check_columns(rows, name, default_level)
    prompts: list[Prompt] = []
    bad: list[str] = []
    for row in rows:
        try:
            prompts.append(_prompt(row, source, default_level))
        except BadRow as reason:
            bad.append(f"row {row.number} {reason}")
    if bad:
        listed = "; ".join(bad[:_LISTED])
        more = f"; and {len(bad) - _LISTED} more" if len(bad) > _LISTED else ""
        raise DataError(f"{name}: {len(bad)} of {len(rows)} rows cannot be used: {listed}{more}.")
    return prompts


def check_level(level: int) -> None:
    """ConfigurationError unless `level` is one of CARES's."""
    if isinstance(level, bool) or level not in LEVELS:
        raise ConfigurationError("level must be 0, 1, 2 or 3.")


def _check_columns(rows: list[Row], name: str, default_level: int | None) -> None:
    """One message for a column that no row has, instead of the same complaint about every row."""
    columns: set[str] = set()
    for row in rows:
        if isinstance(row.cells, BadRow):
            return
        columns.update(row.cells)
    if not columns.intersection(TEXT_COLUMNS):
        raise DataError(f"{name} has no column prompt: name the column with the questions prompt.")
    if "harmful_level" not in columns and default_level is None:
        raise DataError(
            f"{name} has no column harmful_level: add it (0 to 3), or state one level for all rows."
        )


def _prompt(row: Row, source: str, default_level: int | None) -> Prompt:
    if isinstance(row.cells, BadRow):
        raise row.cells
    cells = row.cells
    column = next((column for column in TEXT_COLUMNS if column in cells), "prompt")
    text = _text(cells.get(column), column)
    if text is None:
        raise BadRow(f"has no text in {column}: fill it or delete the row")
    method = _text(cells.get("method"), "method")
    if method is not None and method not in METHODS:
        raise BadRow(f"has an unknown method: use {', '.join(METHODS)} or leave it empty")
    return Prompt(
        text=text,
        harmful_level=_level(cells, default_level),
        base_prompt=_text(cells.get("base_prompt"), "base_prompt") or text,
        principle_index=_principle(cells.get("principle_index")),
        method=method,
        source=source,
        hard_benign=_truth(cells.get("hard_benign")),
    )


def _level(cells: Mapping[str, Any], default_level: int | None) -> int:
    if "harmful_level" not in cells and default_level is not None:
        return default_level
    value = cells.get("harmful_level")
    if _is_missing(value):
        raise BadRow("has no harmful_level: give it 0, 1, 2 or 3")
    level = _integer(value)
    if level not in LEVELS:
        raise BadRow("has a harmful_level that is not 0, 1, 2 or 3")
    return level


def _principle(value: Any) -> int | None:
    if _is_missing(value):
        return None
    index = _integer(value)
    if index is None or not 0 <= index < len(PRINCIPLES):
        raise BadRow(
            f"has a principle_index that is not 0 to {len(PRINCIPLES) - 1}: mend it or leave it empty"
        )
    return index


def _truth(value: Any) -> bool:
    if _is_missing(value):
        return False
    truth = _TRUTHS.get(str(value).strip().lower())
    if truth is None:
        raise BadRow("has a hard_benign that is neither true nor false")
    return truth


def _text(value: Any, column: str) -> str | None:
    """The cell as text; None where it is missing or blank."""
    if _is_missing(value):
        return None
    if not isinstance(value, str):
        raise BadRow(f"has a {column} that is not text")
    if "\x00" in value:
        raise BadRow(f"has a null byte in {column}: remove it")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise BadRow(f"has half a character (a lone surrogate) in {column}: save the file as UTF-8 again")
    return value


def _integer(value: Any) -> int | None:
    """2, 2.0, "2" and "2.0" as 2; None for all else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and _INTEGRAL.fullmatch(value.strip()):
        return int(float(value))
    return None


def _is_missing(value: Any) -> bool:
    """None, NaN (how pandas writes a missing cell) or blank text."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip())
