"""Training in a process of its own: its environment, its progress, its errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from judges.training_job import JudgeTrainingJob, train_in_process
from policies.engines.environment import MALLOC_TUNABLES, compute_environment
from policies.errors import NotEnoughData

ANSWERS = {"Accept": "Take two tablets.", "Caution": "It depends.", "Refuse": "I won't say."}


def labels(path: Path, kinds: list[str], count: int = 12) -> str:
    rows = [
        {"prompt": f"question {n}?", "answer": f"{ANSWERS[kind]} {n}", "label": kind, "harmful_level": 0}
        for n in range(count)
        for kind in kinds
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def job(model: Path, folder: Path, kinds: list[str]) -> JudgeTrainingJob:
    return JudgeTrainingJob(
        model_path=str(model),
        output_dir=str(folder / "adapter"),
        recipe={"epochs": 1, "lora_rank": 2, "held_out": 0.3, "development": 0.3},
        data=labels(folder / "labels.jsonl", kinds),
        attacks_per_family=1,
        dtype="float32",
        threads=1,
    )


def test_a_judge_is_trained_elsewhere_and_its_progress_is_seen_here(
    tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    card = train_in_process(job(tiny_model, tmp_path, list(ANSWERS)))
    assert card == json.loads((tmp_path / "adapter" / "card.json").read_text())
    assert sum(card["rows"]["train"].values()) > 3
    shown = capfd.readouterr()
    events = [json.loads(line)["event"] for line in shown.err.splitlines() if line.startswith("{")]
    assert {"step", "epoch"} <= set(events)
    assert shown.out == ""


def test_what_stops_the_other_process_is_raised_here(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(NotEnoughData, match="hold no Refuse"):
        train_in_process(job(tiny_model, tmp_path, ["Accept", "Caution"]))


def test_training_keeps_large_blocks_in_the_heap_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert compute_environment().get("GLIBC_TUNABLES") == (
        MALLOC_TUNABLES if sys.platform == "linux" else None
    )
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
    assert compute_environment()["GLIBC_TUNABLES"] == "glibc.malloc.arena_max=1"
