"""SIGKILL at three stages of a real cycle on the embedded model: it goes on, and nothing is done twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def small_config(folder: Path) -> Path:
    """The embedded configuration with amounts that a cycle ends within two minutes."""
    body = yaml.safe_load((ROOT / "configs" / "embedded.yaml").read_text())
    body["sampling"] |= {
        "train_prompts": 48,
        "selection_prompts": 16,
        "sealed_prompts": 16,
        "max_new_tokens": 24,
    }
    body["training"] |= {"least": 2, "max_pairs": 16, "max_examples": 16}
    body["training"]["candidates"] = {
        "dpo": {"method": "dpo", "batch_size": 4},
        "kto": {"method": "kto", "batch_size": 4},
    }
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(body))
    return path


def start(config: Path, data_dir: Path) -> subprocess.Popen[bytes]:
    arguments = ["--config", str(config), "--data-dir", str(data_dir)]
    return subprocess.Popen(
        [sys.executable, "-m", "daemon.cli", "cycle", "run", "--json", *arguments],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def rows(data_dir: Path, query: str) -> list[tuple[object, ...]]:
    database = data_dir / "primum.sqlite3"
    if not database.exists():
        return []
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30) as connection:
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []


def kill_when(process: subprocess.Popen[bytes], data_dir: Path, query: str) -> None:
    """SIGKILL the whole process group once `query` finds something."""
    until = time.monotonic() + 600
    while not rows(data_dir, query):
        assert process.poll() is None, "the cycle ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_cycle_killed_at_three_stages_finishes_and_does_nothing_twice(tmp_path: Path) -> None:
    config, data = small_config(tmp_path), tmp_path / "data"
    moments = (
        "select 1 from responses limit 1",
        "select 1 from stages where name = 'train' and status = 'running'",
        "select 1 from stages where name = 'validate' and status = 'running'",
    )
    kept: dict[str, list[tuple[object, ...]]] = {}
    for moment in moments:
        kill_when(start(config, data), data, moment)
        for table in ("responses", "verdicts"):
            now = dict(rows(data, f"select key, created_at from {table}"))  # noqa: S608 - two fixed names
            for key, created in kept.get(table, []):
                assert now[key] == created, f"{table} row was written again"
            kept[table] = list(now.items())
    assert start(config, data).wait(timeout=1200) == 0
    for table in ("responses", "verdicts"):
        now = dict(rows(data, f"select key, created_at from {table}"))  # noqa: S608
        assert all(now[key] == created for key, created in kept[table])
    assert rows(data, "select count(*) from cycles") == [(1,)]
    (state,) = rows(data, "select state from cycles")[0]
    assert state in ("waiting_for_approval", "no_winner")
    asked = rows(data, "select count(distinct response_key) from asks")
    assert asked == rows(data, "select count(*) from responses")
