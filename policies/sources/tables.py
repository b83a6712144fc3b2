"""JSONL, CSV and Parquet files with CARES's column names as prompts.

Only `prompt` (or `question`, or `harmful_medical_request`) and `harmful_level` are required; `base_prompt`
defaults to the prompt, `principle_index`, `method` and `hard_benign` to nothing; other columns are ignored.
Rows are numbered as a person finds them: lines of a JSONL file, spreadsheet rows of a CSV file (the header is
row 1), rows of a Parquet file from 1.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from policies.errors import DataError
from policies.records import Prompt
from policies.sources.rows import COLUMNS, TEXT_COLUMNS, BadRow, Row, prompts_from_rows

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def load_table(
    path: str | Path, *, default_level: int | None = None, source: str | None = None
) -> list[Prompt]:
    """Prompts of one file, by its extension (.jsonl, .ndjson, .csv, .parquet), in its order.

    `default_level` is the level of rows in which the column `harmful_level` is absent. `source` is recorded
    with each prompt; the file's name by default. Raises DataError naming file and rows.
    """
    path = Path(path)
    rows = read_rows(path)
    return prompts_from_rows(rows, name=str(path), source=source or path.name, default_level=default_level)


def read_rows(path: Path) -> list[Row]:
    """The file's rows, bad ones with their reasons. DataError where the file as a whole cannot be read."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} is no table that can be read: use {', '.join(sorted(_READERS))}.")
    try:
        return list(reader(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or type(error).__name__}.") from error


def is_table(path: Path) -> bool:
    """True for a file whose extension `load_table` knows."""
    return path.suffix.lower() in _READERS and path.is_file()


def _jsonl_rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_bytes_of(path).split(b"\n"), start=1):
        if line.strip():
            yield Row(number, _jsonl_cells(line))


def _jsonl_cells(line: bytes) -> Mapping[str, Any] | BadRow:
    try:
        cells = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return BadRow("is not UTF-8: save the file as UTF-8")
    except (ValueError, RecursionError):
        return BadRow("is not valid JSON: each line is one object")
    if not isinstance(cells, dict):
        return BadRow("is no JSON object: each line is one object with the key prompt")
    return cells


def _csv_rows(path: Path) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(_utf8(path), newline=""), strict=True)
    number = 1
    try:
        header = _csv_header(next(reader, []), path)
        for number, fields in enumerate(reader, start=2):
            if not fields:
                continue
            if len(fields) != len(header):
                yield Row(number, BadRow(f"has {len(fields)} fields where the header has {len(header)}"))
            else:
                yield Row(number, dict(zip(header, fields, strict=True)))
    except csv.Error:
        # The reader stops here: after a broken quote nobody knows where the next row begins.
        last = number + 1
        yield Row(
            last, BadRow("is not valid CSV (a broken quote, or a cell of over 128 KiB); reading stopped")
        )


def _csv_header(fields: list[str], path: Path) -> list[str]:
    """The column names. Without a known one the first row is data, and reading on would lose it."""
    header = [field.strip() for field in fields]
    if not header:
        raise DataError(f"{path} is empty: it needs a header line and at least one row.")
    if not set(header).intersection(TEXT_COLUMNS):
        raise DataError(
            f"{path} has no header with a column prompt: the first line names the columns, with commas."
        )
    if repeated := [name for name in COLUMNS if header.count(name) > 1]:
        raise DataError(f"{path} names the column {repeated[0]} twice in its header: keep one.")
    return header


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa  # 50 ms, and only Parquet needs it
    import pyarrow.parquet as pq

    try:
        # Not read_table(path): that would read folder names such as level=2 as columns.
        file = pq.ParquetFile(path)
        names = [name for name in COLUMNS if name in file.schema_arrow.names]
        table = file.read(columns=names)
        columns = {name: table.column(name) for name in names}
    except pa.ArrowException as error:
        raise DataError(f"{path} is not a readable Parquet file: export it again.") from error
    except KeyError as error:
        raise DataError(f"{path} names a column twice: keep one.") from error
    if not names:
        raise DataError(f"{path} has no column prompt: name the column with the questions prompt.")
    for index in range(table.num_rows):
        try:
            yield Row(index + 1, {name: column[index].as_py() for name, column in columns.items()})
        except UnicodeDecodeError:
            yield Row(index + 1, BadRow("is not UTF-8: export the file as UTF-8"))


def _bytes_of(path: Path) -> bytes:
    """The file's bytes without a UTF-8 byte-order mark."""
    content = path.read_bytes()
    if content.startswith(_UTF16):
        raise DataError(f"{path} is UTF-16: save it as UTF-8.")
    return content.removeprefix(b"\xef\xbb\xbf")


def _utf8(path: Path) -> str:
    """The file's text. A CSV row may span lines, so bad bytes are named by line, all together."""
    content = _bytes_of(path)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        bad = [str(n) for n, line in enumerate(content.split(b"\n"), start=1) if not _decodes(line)]
        listed = ", ".join(bad[:10]) + (f" and {len(bad) - 10} more" if len(bad) > 10 else "")
        raise DataError(f"{path} is not UTF-8 in line {listed}: save the file as UTF-8.") from error


def _decodes(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


_READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _jsonl_rows,
    ".ndjson": _jsonl_rows,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
}
