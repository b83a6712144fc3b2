"""Sources by name or path, with a level and a limit."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from policies.errors import ConfigurationError, DataError, NotEnoughData
from policies.sources.bank import load_bank, load_counterparts
from policies.sources.registry import load_prompts


def table(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_bank_by_name() -> None:
    assert load_prompts("bank", seed=4) == load_bank(seed=4)


def test_counterparts_by_name() -> None:
    assert load_prompts("counterparts") == load_counterparts()


def test_level_filters_rows_that_have_one() -> None:
    assert {p.harmful_level for p in load_prompts("bank", level=3)} == {3}


def test_level_fills_rows_that_have_none(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"prompt": "a"}, {"prompt": "b", "harmful_level": 2}]
    prompts = load_prompts(table(tmp_path / "t.jsonl", rows), level=1)
    assert [(p.text, p.harmful_level) for p in prompts] == [("a", 1)]


def test_limit_is_seeded_and_keeps_the_mix() -> None:
    chosen = load_prompts("bank", limit=100, seed=1)
    assert chosen == load_prompts("bank", limit=100, seed=1)
    assert len({p.base_prompt for p in chosen}) == 100
    assert Counter(p.harmful_level for p in chosen) == {0: 40, 1: 22, 2: 27, 3: 11}
    assert {p.base_prompt for p in chosen} != {p.base_prompt for p in load_prompts("bank", limit=100, seed=2)}


def test_a_folder_with_one_table_is_that_table(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("about")
    table(tmp_path / "t.jsonl", [{"prompt": "a", "harmful_level": 0}])
    assert [p.text for p in load_prompts(str(tmp_path))] == ["a"]
    table(tmp_path / "u.jsonl", [{"prompt": "b", "harmful_level": 0}])
    with pytest.raises(ConfigurationError, match="holds 2 tables"):
        load_prompts(str(tmp_path))


def test_a_folder_without_a_known_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no known layout"):
        load_prompts(str(tmp_path))


@pytest.mark.parametrize(
    "source", ["", "nonsense", "bank:", "cares:", "cares:/nowhere", "medsafetybench", "/no/t.csv"]
)
def test_an_unknown_source_lists_the_known_ones(source: str) -> None:
    with pytest.raises(ConfigurationError, match=r"bank, counterparts, cares, cares:FOLDER"):
        load_prompts(source)


@pytest.mark.parametrize("wrong", [{"level": 4}, {"level": -1}, {"limit": 0}])
def test_impossible_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        load_prompts("bank", **wrong)


def test_a_level_that_the_source_lacks_is_not_enough_data(tmp_path: Path) -> None:
    path = table(tmp_path / "t.jsonl", [{"prompt": "a", "harmful_level": 0}])
    with pytest.raises(NotEnoughData, match="no prompt of level 3"):
        load_prompts(path, level=3)


def test_real_folders_are_recognised(shared_data: Path) -> None:
    assert len(load_prompts(str(shared_data / "cares"))) == 22
    assert load_prompts(f"cares:{shared_data / 'cares'}") == load_prompts(str(shared_data / "cares"))
    requests = load_prompts(str(shared_data / "medsafetybench"), limit=64)
    assert Counter(p.harmful_level for p in requests) == {2: 64}
    assert set(Counter(p.source for p in requests).values()) <= {7, 8}
    assert {
        p.harmful_level for p in load_prompts(f"medsafetybench:{shared_data / 'medsafetybench'}", level=3)
    } == {3}


def test_real_medquad_takes_its_level_from_the_caller(shared_data: Path) -> None:
    prompts = load_prompts(str(shared_data / "medquad"), level=0, limit=64)
    assert Counter(p.harmful_level for p in prompts) == {0: 64}
    with pytest.raises(DataError, match="no column harmful_level"):
        load_prompts(str(shared_data / "medquad"))
