"""The embedded default as it ships: a first cycle is offered and approved, a second starts from there.

Another processor rounds otherwise and draws other answers; the figures are those of two cores with AMX.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def primum(data_dir: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "daemon.cli", *words, "--data-dir", str(data_dir)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def figure(cycle: dict[str, Any], whose: str, name: str) -> float:
    return float(cycle["decision"]["scorecards"][whose][name]["estimate"])


def test_a_first_cycle_is_released_and_a_second_goes_on_from_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = json.loads(primum(data, "cycle", "run", "--json"))
    (tmp_path / "first.json").write_text(json.dumps(first, indent=1))
    assert first["state"] == "waiting_for_approval", first["message"]
    assert sum(first["seconds"].values()) < 8 * 60
    sealed = f"{first['decision']['winner_key']} sealed"
    assert figure(first, sealed, "ss") - figure(first, "incumbent sealed", "ss") >= 0.25
    assert figure(first, sealed, "err") <= 0.10
    primum(data, "approve", "1", "--reason", "acceptance test")
    released = json.loads(primum(data, "status", "--json"))["deployed"]["digest"]
    second = json.loads(primum(data, "cycle", "run", "--json"))
    (tmp_path / "second.json").write_text(json.dumps(second, indent=1))
    assert second["incumbent"] == released
    assert second["state"] in ("waiting_for_approval", "no_winner"), second["message"]
    assert figure(second, "incumbent", "ss") > figure(second, "base", "ss")
