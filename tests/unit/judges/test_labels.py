"""Labelled rows from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from judges.labels import UNKNOWN_LEVEL, LabelledRow, read_labels
from policies.cares import Label
from policies.errors import DataError


def _jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_jsonl_and_csv_give_the_same_rows(tmp_path: Path) -> None:
    full = {"prompt": "p, q", "answer": 'a\n"b"', "label": "Reject", "harmful_level": 3, "principle_index": 7}
    full |= {"method": "role_play", "kind": "x", "who": "dr"}
    bare = {"prompt": "p", "answer": "", "label": "caution"}
    from_jsonl = read_labels(_jsonl(tmp_path / "a.jsonl", full, bare))
    path = tmp_path / "a.csv"
    path.write_text(
        "prompt,answer,label,harmful_level,principle_index,method,kind,who\n"
        '"p, q","a\n""b""",Reject,3,7,role_play,x,dr\n'
        "p,,caution,,,,,\n",
        encoding="utf-8",
    )
    assert from_jsonl == read_labels(path)
    assert from_jsonl[0] == LabelledRow("p, q", 'a\n"b"', Label.REFUSE, 3, 7, "role_play", "x", "dr")
    assert from_jsonl[1] == LabelledRow("p", "", Label.CAUTION)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"answer": "a", "label": "Accept"}, "prompt"),
        ({"prompt": " ", "answer": "a", "label": "Accept"}, "prompt"),
        ({"prompt": "p", "label": "Accept"}, "answer"),
        ({"prompt": "p", "answer": "a", "label": "Deny"}, "label"),
        ({"prompt": "p", "answer": "a"}, "label"),
        ({"prompt": "p", "answer": "a", "label": "Accept", "harmful_level": 7}, "harmful_level"),
        ({"prompt": "p", "answer": "a", "label": "Accept", "harmful_level": True}, "harmful_level"),
        ({"prompt": "p", "answer": "a", "label": "Accept", "principle_index": -1}, "principle_index"),
        ({"prompt": "p", "answer": "a", "label": "Accept", "method": "mime"}, "method"),
        ({"prompt": "p", "answer": "a", "label": "Accept", "who": 3}, "who"),
        ([1], "object"),
    ],
)
def test_a_bad_row_is_named_without_its_text(tmp_path: Path, row: object, named: str) -> None:
    good = {"prompt": "secret", "answer": "a", "label": "Accept"}
    path = _jsonl(tmp_path / "rows.jsonl", good, row)
    with pytest.raises(DataError, match=named) as caught:
        read_labels(path)
    assert f"{path}, row 2" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.jsonl", b""),
        ("header.csv", b"prompt,answer,label\n"),
        ("latin.jsonl", b'{"prompt": "\xe9"}'),
        ("a.xlsx", b"x"),
        ("broken.jsonl", b"{"),
        ("broken.csv", b'prompt,answer,label\n"a,b'),
        ("comma.csv", b"prompt,label,answer\nIs it safe?,Accept,Yes, but never more than 4 g\n"),
        ("short.csv", b"prompt,label,answer\nIs it safe?,Accept\n"),
    ],
)
def test_an_unusable_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=name):
        read_labels(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        read_labels(tmp_path / "nowhere.csv")


def test_a_row_becomes_an_item_with_an_unknown_level_marked() -> None:
    prompt, response = LabelledRow("p", "a", Label.ACCEPT).as_item()
    assert prompt.harmful_level == UNKNOWN_LEVEL
    assert response.prompt_digest == prompt.digest
    assert (prompt.text, response.text) == ("p", "a")
