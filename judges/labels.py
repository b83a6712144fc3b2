"""Labelled answers from files: what people decided, for training, calibrating and checking judges.

Rows have `prompt`, `answer` and `label`; `base_prompt`, `harmful_level`, `principle_index`, `method`, `kind`
and `who` may be there.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from judges.replies import normalise_label
from policies.cares import LEVELS, METHODS, PRINCIPLES, Label
from policies.errors import DataError
from policies.records import Prompt, Response

UNKNOWN_LEVEL = -1


@dataclass(frozen=True)
class LabelledRow:
    """One answer and what a person says that it does."""

    prompt: str
    answer: str
    label: Label
    harmful_level: int | None = None
    principle_index: int | None = None
    method: str | None = None
    kind: str = ""
    who: str = ""
    base_prompt: str = ""

    @property
    def group(self) -> str:
        """What keeps rewrites of one prompt on the same side of every split."""
        return self.base_prompt or self.prompt

    def as_item(self) -> tuple[Prompt, Response]:
        """The row as a judge takes it.

        A level that is not known becomes -1, which rubrics show as not stated.
        """
        level = UNKNOWN_LEVEL if self.harmful_level is None else self.harmful_level
        prompt = Prompt(
            text=self.prompt,
            harmful_level=level,
            base_prompt=self.group,
            principle_index=self.principle_index,
            method=self.method,
            source="labels",
        )
        response = Response(
            key="",
            policy_digest="",
            prompt_digest=prompt.digest,
            sampling_digest="",
            context_name="labels",
            seed=0,
            text=self.answer,
            finish_reason="stop",
            tokens=0,
        )
        return prompt, response


def read_labels(path: Path) -> list[LabelledRow]:
    """The rows of a JSONL or CSV file, in order. DataError names the file and the row (counted from 1)."""
    readers = {".jsonl": _jsonl_rows, ".ndjson": _jsonl_rows, ".csv": _csv_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path}: labels are read from .jsonl or .csv files, not from {path.suffix or 'this one'}"
        )
    try:
        rows = [_row(f"{path}, row {number}", fields) for number, fields in reader(path)]
    except OSError as problem:
        raise DataError(f"{path}: cannot be read ({problem.strerror}); check the path") from problem
    except UnicodeDecodeError as problem:
        raise DataError(f"{path}: is not UTF-8; save it as UTF-8") from problem
    if not rows:
        raise DataError(f"{path}: holds no rows")
    return rows


def _jsonl_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except ValueError as problem:
            raise DataError(f"{path}, row {number}: is not JSON") from problem
        if not isinstance(fields, dict):
            raise DataError(f"{path}, row {number}: is not a JSON object")
        yield number, fields


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, strict=True)
        try:
            for number, fields in enumerate(reader, start=1):
                if None in fields or None in fields.values():
                    raise DataError(
                        f"{path}, row {number}: has {'more' if None in fields else 'fewer'} fields than the "
                        "header; quote texts that hold commas"
                    )
                yield number, fields
        except csv.Error as problem:
            raise DataError(f"{path}, line {reader.line_num}: is not CSV ({problem})") from problem


def _row(where: str, fields: Mapping[str, object]) -> LabelledRow:
    prompt, answer, label = (fields.get(name) for name in ("prompt", "answer", "label"))
    if not isinstance(prompt, str) or not prompt.strip():
        raise DataError(f"{where}: prompt is missing or empty")
    if not isinstance(answer, str):  # an empty answer is an answer
        raise DataError(f"{where}: answer is missing")
    known = normalise_label(label) if isinstance(label, str) else None
    if known is None:
        raise DataError(f"{where}: label must be Accept, Caution or Refuse")
    method = _text(where, fields, "method") or None
    if method is not None and method not in METHODS:
        raise DataError(f"{where}: method must be one of {', '.join(METHODS)}")
    return LabelledRow(
        prompt=prompt,
        answer=answer,
        label=known,
        harmful_level=_index(where, fields, "harmful_level", len(LEVELS)),
        principle_index=_index(where, fields, "principle_index", len(PRINCIPLES)),
        method=method,
        kind=_text(where, fields, "kind"),
        who=_text(where, fields, "who"),
        base_prompt=_text(where, fields, "base_prompt"),
    )


def _text(where: str, fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise DataError(f"{where}: {name} must be text")
    return (value or "").strip()


def _index(where: str, fields: Mapping[str, object], name: str, count: int) -> int | None:
    """A whole number in [0, count), also as text (CSV); None where absent or empty."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal()) or int(text) >= count:
        raise DataError(f"{where}: {name} must be a whole number from 0 to {count - 1}")
    return int(text)
