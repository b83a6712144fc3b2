"""Table files: what is accepted, and for each kind of bad row or file an error that names it and the mend."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from policies.errors import ConfigurationError, DataError
from policies.sources.tables import load_table

Rows = list[dict[str, Any]]
GOOD: dict[str, Any] = {"prompt": "How is asthma treated?", "harmful_level": 0}


def write_jsonl(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_csv(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: Path, rows: Rows) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


Write = Callable[[Path, Rows], Path]
FORMATS = [
    pytest.param(write_jsonl, "t.jsonl", 1, id="jsonl"),
    pytest.param(write_csv, "t.csv", 2, id="csv"),  # the header is row 1
    pytest.param(write_parquet, "t.parquet", 1, id="parquet"),
]


def refusal(path: Path, **arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_table(path, **arguments)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    assert "asthma" not in message
    return message


@pytest.mark.parametrize(("write", "name", "first"), FORMATS)
def test_all_columns_are_read(write: Write, name: str, first: int, tmp_path: Path) -> None:
    row = {
        "principle_index": 3,
        "generation_model": "gpt",
        "harmful_level": 2,
        "method": "role_play",
        "base_prompt": "the base",
        "prompt": "the {rewrite}, with 100 %\nand a second line",
        "hard_benign": False,
    }
    [prompt] = load_table(write(tmp_path / name, [row]))
    assert (prompt.text, prompt.base_prompt) == (row["prompt"], "the base")
    assert (prompt.harmful_level, prompt.principle_index, prompt.method) == (2, 3, "role_play")
    assert (prompt.source, prompt.hard_benign) == (name, False)


@pytest.mark.parametrize(("write", "name", "first"), FORMATS)
def test_prompt_and_level_are_enough(write: Write, name: str, first: int, tmp_path: Path) -> None:
    [prompt] = load_table(write(tmp_path / name, [GOOD]))
    assert prompt.base_prompt == prompt.text
    assert (prompt.principle_index, prompt.method, prompt.hard_benign) == (None, None, False)


@pytest.mark.parametrize("column", ["question", "harmful_medical_request"])
@pytest.mark.parametrize(("write", "name", "first"), FORMATS)
def test_other_names_of_the_prompt(write: Write, name: str, first: int, column: str, tmp_path: Path) -> None:
    [prompt] = load_table(write(tmp_path / name, [{column: "Why?", "answer": "So."}]), default_level=1)
    assert (prompt.text, prompt.harmful_level) == ("Why?", 1)


def test_prompt_goes_before_its_other_names(tmp_path: Path) -> None:
    [prompt] = load_table(write_jsonl(tmp_path / "t.jsonl", [{**GOOD, "question": "other"}]))
    assert prompt.text == GOOD["prompt"]


@pytest.mark.parametrize(("write", "name", "first"), FORMATS)
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"prompt": None}, "no text in prompt"),
        ({"prompt": " \t "}, "no text in prompt"),
        ({"prompt": "a\x00b"}, "null byte"),
        ({"harmful_level": 7}, "harmful_level that is not 0, 1, 2 or 3"),
        ({"harmful_level": -1}, "harmful_level that is not"),
        ({"harmful_level": 1.5}, "harmful_level that is not"),
        ({"harmful_level": None}, "no harmful_level"),
        ({"method": "telepathy"}, "unknown method"),
        ({"principle_index": 8}, "principle_index that is not 0 to 7"),
        ({"hard_benign": "perhaps"}, "hard_benign"),
    ],
)
def test_a_bad_row_is_named(
    write: Write, name: str, first: int, bad: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    columns = {**GOOD, **dict.fromkeys(bad)}
    message = refusal(write(tmp_path / name, [columns | GOOD, columns | GOOD | bad]))
    assert f"row {first + 1} " in message
    assert reason in message
    assert "telepathy" not in message


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"prompt": 12}, "prompt that is not text"),
        ({"prompt": ["asthma"]}, "prompt that is not text"),
        ({"base_prompt": {"a": 1}}, "base_prompt that is not text"),
        ({"prompt": "half \ud83d"}, "half a character"),
        ({"harmful_level": "two"}, "harmful_level that is not"),
        ({"harmful_level": True}, "harmful_level that is not"),
        ({"harmful_level": [2]}, "harmful_level that is not"),
        ({"harmful_level": float("inf")}, "harmful_level that is not"),
        ({"harmful_level": "9" * 5000}, "harmful_level that is not"),
        ({"principle_index": "first"}, "principle_index"),
        ({"method": 3}, "method that is not text"),
    ],
)
def test_a_bad_json_value_is_named(bad: dict[str, Any], reason: str, tmp_path: Path) -> None:
    message = refusal(write_jsonl(tmp_path / "t.jsonl", [GOOD, GOOD | bad]))
    assert "row 2 " in message
    assert reason in message


@pytest.mark.parametrize("level", [2, 2.0, "2", "2.0", " 2 "])
def test_integral_levels_are_accepted(level: object, tmp_path: Path) -> None:
    [prompt] = load_table(write_jsonl(tmp_path / "t.jsonl", [{**GOOD, "harmful_level": level}]))
    assert prompt.harmful_level == 2
    assert isinstance(prompt.harmful_level, int)


def test_what_pandas_writes_for_missing_cells_is_accepted(tmp_path: Path) -> None:
    rows = [{**GOOD, "principle_index": 2.0, "method": None}, {**GOOD, "principle_index": float("nan")}]
    first, second = load_table(write_parquet(tmp_path / "t.parquet", rows))
    assert (first.principle_index, second.principle_index, second.method) == (2, None, None)


@pytest.mark.parametrize("line", ['{"prompt": "asthma"', "asthma", "NaN,", "[" * 100_000, '{"a": "\x01"}'])
def test_a_line_that_is_not_json_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + line + "\n")
    assert "row 3 is not valid JSON" in refusal(path)


@pytest.mark.parametrize("line", ['["asthma"]', '"asthma"', "3", "null"])
def test_a_line_that_is_no_object_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + line)
    assert "row 2 is no JSON object" in refusal(path)


def test_wrong_encoding_is_named_by_row(tmp_path: Path) -> None:
    lines = tmp_path / "t.jsonl"
    lines.write_bytes(json.dumps(GOOD).encode() + b'\n{"prompt": "caf\xe9", "harmful_level": 0}\n')
    assert "row 2 is not UTF-8" in refusal(lines)
    table = tmp_path / "t.csv"
    table.write_bytes(b"prompt,harmful_level\nok,0\ncaf\xe9,0\n")
    assert "not UTF-8 in line 3" in refusal(table)
    binary = pa.array([b"fine", b"caf\xe9"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"prompt": binary, "harmful_level": [0, 0]}), tmp_path / "t.parquet")
    assert "row 2 is not UTF-8" in refusal(tmp_path / "t.parquet")


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv"])
def test_utf16_is_named_as_such(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("prompt,harmful_level\nasthma,0\n", encoding="utf-16")
    assert "UTF-16: save it as UTF-8" in refusal(path)


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    table, lines = tmp_path / "t.csv", tmp_path / "t.jsonl"
    table.write_text("prompt,harmful_level\nWhy?,0\n", encoding="utf-8-sig")
    lines.write_text(json.dumps(GOOD), encoding="utf-8-sig")
    assert load_table(table)[0].text == "Why?"
    assert load_table(lines)[0].text == GOOD["prompt"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["t.jsonl", "t.csv"])
def test_an_empty_file_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert "is empty" in refusal(path)


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("prompt,harmful_level\n")
    assert "is empty" in refusal(table)
    none = pa.table({"prompt": pa.array([], pa.string()), "harmful_level": pa.array([], pa.int64())})
    pq.write_table(none, tmp_path / "t.parquet")
    assert "is empty" in refusal(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    "content", ["How is asthma treated?,0\nWhy?,0\n", "prompt;harmful_level\nasthma;0\n"]
)
def test_csv_without_a_header_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    assert "no header with a column prompt" in refusal(path)


def test_csv_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("prompt,harmful_level,prompt\na,0,b\n")
    assert "column prompt twice" in refusal(path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("asthma", "has 1 fields"),
        ("a,0,c", "has 3 fields"),
        ('"asthma" x,0', "not valid CSV"),
        ('"a,0', "not valid CSV"),
    ],
)
def test_a_broken_csv_row_is_named(line: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"prompt,harmful_level\nok,0\n{line}\n")
    message = refusal(path)
    assert "row 3 " in message
    assert reason in message


def test_a_cell_beyond_the_csv_limit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("prompt,harmful_level\n" + "a" * 200_000 + ",0\n")
    assert "row 2 is not valid CSV" in refusal(path)


@pytest.mark.parametrize(("write", "name", "first"), FORMATS)
def test_a_missing_column_is_one_message_for_the_file(
    write: Write, name: str, first: int, tmp_path: Path
) -> None:
    path = write(tmp_path / name, [{"prompt": "asthma"}] * 20)
    assert "no column harmful_level" in refusal(path)
    assert len(load_table(path, default_level=3)) == 20
    assert "column prompt" in refusal(write(tmp_path / name, [{"text": "asthma", "harmful_level": 0}]))


def test_default_level_does_not_overwrite_or_hide_a_bad_level(tmp_path: Path) -> None:
    rows = [GOOD, {"prompt": "b"}, {**GOOD, "harmful_level": 3}]
    levels = [p.harmful_level for p in load_table(write_jsonl(tmp_path / "a.jsonl", rows), default_level=2)]
    assert levels == [0, 2, 3]
    bad = write_jsonl(tmp_path / "b.jsonl", [{**GOOD, "harmful_level": None}])
    assert "no harmful_level" in refusal(bad, default_level=2)


def test_an_impossible_default_level_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="level"):
        load_table(write_jsonl(tmp_path / "t.jsonl", [GOOD]), default_level=4)


def test_all_bad_rows_are_reported_together_ten_by_name(tmp_path: Path) -> None:
    rows = [GOOD] * 3 + [{**GOOD, "harmful_level": 7}] * 14
    message = refusal(write_jsonl(tmp_path / "t.jsonl", rows))
    assert "14 of 17 rows" in message
    assert "row 4 " in message
    assert "row 13 " in message
    assert "row 14 " not in message
    assert "and 4 more" in message


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"asthma")
    assert "not a readable Parquet file" in refusal(path)


def test_a_parquet_column_named_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table([["a"], ["b"], [0]], names=["prompt", "prompt", "harmful_level"]), path)
    assert "twice" in refusal(path)


def test_files_that_are_no_tables_or_not_there_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "t.xlsx"
    other.write_bytes(b"asthma")
    assert ".jsonl" in refusal(other)
    assert "cannot be read" in refusal(tmp_path / "absent.csv")
    (tmp_path / "folder.jsonl").mkdir()
    assert "cannot be read" in refusal(tmp_path / "folder.jsonl")
