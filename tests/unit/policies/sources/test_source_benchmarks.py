"""CARES-18K and MedSafetyBench in their published layouts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from policies.errors import ConfigurationError, DataError
from policies.sources.cares import load_cares
from policies.sources.medsafetybench import load_demonstrations, load_medsafetybench

ROW = {
    "principle_index": 2,
    "generation_model": "gpt",
    "harmful_level": 3,
    "method": "indirect",
    "base_prompt": "the base",
    "prompt": "the rewrite",
}


def cares_folder(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        pq.write_table(pa.Table.from_pylist([{**ROW, "prompt": f"rewrite {number}"}]), folder / name)
    return folder


class FakeHub:
    """Serves rows a split as `datasets.load_dataset` does, and remembers what it was asked."""

    def __init__(self, rows: list[Mapping[str, Any]]) -> None:
        self.rows = rows
        self.asked: list[tuple[str, str, str | None]] = []

    def __call__(self, name: str, *, split: str, revision: str | None) -> Iterable[Mapping[str, Any]]:
        self.asked.append((name, split, revision))
        return self.rows


def demonstrations(
    root: Path, part: str = "train", author: str = "gpt4", category: int = 1, rows: str = ""
) -> Path:
    folder = root / "datasets" / part / author
    folder.mkdir(parents=True, exist_ok=True)
    header = ",harmful_medical_request,safe_response\n"
    rows = rows or f'0,"Do harm, {part} {author} {category}","I\'m sorry,\nno."\n'
    (folder / f"med_safety_demonstrations_category_{category}.csv").write_text(header + rows)
    return root


@pytest.mark.parametrize("below", [".", "data"])
def test_cares_folder_gives_both_parts_or_one(below: str, tmp_path: Path) -> None:
    cares_folder(tmp_path / "c" / below, "test-00000-of-00001.parquet", "train-00000-of-00001.parquet")
    assert [p.text for p in load_cares(tmp_path / "c")] == ["rewrite 0", "rewrite 1"]
    [prompt] = load_cares(tmp_path / "c", split="train")
    assert (prompt.text, prompt.source, prompt.method, prompt.principle_index) == (
        "rewrite 1",
        "cares",
        "indirect",
        2,
    )


def test_cares_folder_without_the_part_is_refused(tmp_path: Path) -> None:
    folder = cares_folder(tmp_path / "c", "test-00000-of-00001.parquet")
    with pytest.raises(DataError, match=r"holds no train-\*\.parquet"):
        load_cares(folder, split="train")
    with pytest.raises(ConfigurationError, match="train, test"):
        load_cares(folder, split="validation")


def test_cares_from_the_hub_asks_for_both_parts_at_the_revision() -> None:
    hub = FakeHub([ROW])
    assert [p.text for p in load_cares(revision="abc", hub_loader=hub)] == ["the rewrite"] * 2
    assert hub.asked == [("HFXM/CARES-18K", "train", "abc"), ("HFXM/CARES-18K", "test", "abc")]


def test_bad_rows_from_the_hub_are_named() -> None:
    with pytest.raises(DataError, match=r"HFXM/CARES-18K \(test\).*row 2 has a harmful_level"):
        load_cares(split="test", hub_loader=FakeHub([ROW, {**ROW, "harmful_level": 9}]))


def test_real_cares_rows_load_as_published(shared_data: Path) -> None:
    prompts = load_cares(shared_data / "cares", split="test")
    assert len(prompts) == 22
    assert {p.method for p in prompts} == {"direct", "indirect", "obfuscate", "role_play"}
    assert all(p.principle_index is not None for p in prompts)
    assert all(p.base_prompt == p.text for p in prompts if p.method == "direct")


@pytest.mark.parametrize("start", [".", "datasets", "datasets/train", "datasets/train/gpt4"])
def test_medsafetybench_is_found_from_any_folder_of_its_layout(start: str, tmp_path: Path) -> None:
    demonstrations(tmp_path)
    [prompt] = load_medsafetybench(tmp_path / start)
    assert prompt.text == prompt.base_prompt == "Do harm, train gpt4 1"
    assert (prompt.harmful_level, prompt.method, prompt.principle_index) == (2, "direct", None)
    assert prompt.source == "medsafetybench/train/gpt4/1"


def test_medsafetybench_parts_and_level_can_be_chosen(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for author in ("gpt4", "llama2"):
            demonstrations(tmp_path, part, author, 9)
    assert len(load_medsafetybench(tmp_path)) == 4
    chosen = load_medsafetybench(tmp_path, split="test", harmful_level=3)
    assert {(p.source.split("/")[1], p.harmful_level) for p in chosen} == {("test", 3)}
    with pytest.raises(ConfigurationError, match="train, test"):
        load_medsafetybench(tmp_path, split="dev")


def test_demonstrations_pair_requests_with_safe_responses(tmp_path: Path) -> None:
    [(prompt, answer)] = load_demonstrations(demonstrations(tmp_path))
    assert (prompt.text, answer) == ("Do harm, train gpt4 1", "I'm sorry,\nno.")


def test_demonstrations_without_a_response_are_named(tmp_path: Path) -> None:
    demonstrations(tmp_path, rows="0,Do harm,Sorry\n1,More harm,\n")
    assert len(load_medsafetybench(tmp_path)) == 2
    with pytest.raises(DataError, match=r"category_1\.csv.*row 3 has no safe_response"):
        load_demonstrations(tmp_path)


def test_a_folder_without_the_benchmark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="med-safety-bench"):
        load_medsafetybench(tmp_path)


def test_real_medsafetybench_loads(shared_data: Path) -> None:
    pairs = load_demonstrations(shared_data / "medsafetybench")
    assert len(pairs) == 450
    assert len({p.source for p, _ in pairs}) == 9
    assert all(answer.strip() for _, answer in pairs)
