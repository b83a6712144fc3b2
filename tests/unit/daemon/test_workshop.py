"""A cap in dollars is for a cycle: what an earlier process spent of it is gone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from daemon.paths import Paths
from daemon.settings import JudgeSettings, Settings
from daemon.store.rows import CycleRow
from daemon.store.store import Store
from daemon.workshop import REPORT_FILE, Workshop, shipped_reports
from judges.openai import OpenAIJudge
from policies.errors import ConfigurationError, DataError
from policies.records import Policy

PAID = {"kind": "openai", "cap_usd": 1.0}
REGISTRY: dict[str, Any] = {
    "paid": PAID,
    "other": PAID | {"rubric": "compact"},
    "rules": {"kind": "rules"},
    "panel": {"kind": "panel", "members": {"paid": 1.0, "rules": 1.0}},
}
Make = Callable[[int | None], Workshop]


@pytest.fixture
def cycle(store: Store, at: Callable[[float], datetime]) -> CycleRow:
    return store.cycles.create(
        incumbent=Policy("b" * 64), seed=7, config_digest="c" * 64, config={}, at=at(0)
    )


@pytest.fixture
def make(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    judging: Any = {"train": "paid", "validate": "panel", "second": "rules", "registry": REGISTRY}
    settings = Settings(judging=judging)
    paths = Paths.under(tmp_path / "installation")
    return lambda cycle_id: Workshop(settings=settings, paths=paths, store=store, cycle_id=cycle_id)


def spent(workshop: Workshop, name: str = "paid") -> float:
    judge = workshop.judge(name)
    assert isinstance(judge, OpenAIJudge)
    return judge.budget.spent_usd


def test_cap_holds_over_restarts_of_a_cycle(
    make: Make, store: Store, cycle: CycleRow, at: Callable[[float], datetime]
) -> None:
    workshop = make(cycle.id)
    assert spent(workshop) == 0.0
    digest = workshop.judge("paid").digest
    for cost in (0.25, 0.5):
        store.evidence.charge(judge_digest=digest, cycle_id=cycle.id, at=at(1), cost_usd=cost)
    store.evidence.charge(judge_digest=digest, cycle_id=None, at=at(1), cost_usd=9.0)
    assert spent(make(cycle.id)) == 0.75
    workshop.put_away()
    assert spent(workshop) == 0.75, "a judge that is made again in the same process has not forgotten either"
    judge = workshop.judge("paid")
    assert isinstance(judge, OpenAIJudge)
    assert judge.budget.may_spend(0.25)
    assert not judge.budget.may_spend(0.26)


def test_other_judges_other_cycles_and_no_cycle_start_afresh(
    make: Make, store: Store, cycle: CycleRow, at: Callable[[float], datetime]
) -> None:
    digest = make(None).judge("paid").digest
    store.evidence.charge(judge_digest=digest, cycle_id=cycle.id, at=at(1), cost_usd=0.5)
    assert spent(make(cycle.id), "other") == 0.0
    assert spent(make(None)) == 0.0
    store.cycles.advance(cycle.id, "running", "no_winner", "decide", at(2))
    later = store.cycles.create(
        incumbent=Policy("b" * 64), seed=8, config_digest="c" * 64, config={}, at=at(3)
    )
    assert spent(make(later.id)) == 0.0


def test_what_a_panel_spent_counts_against_its_paying_members(
    make: Make, store: Store, cycle: CycleRow, at: Callable[[float], datetime]
) -> None:
    panel, paid = make(None).judge("panel").digest, make(None).judge("paid").digest
    store.evidence.charge(judge_digest=panel, cycle_id=cycle.id, at=at(1), cost_usd=0.5)
    store.evidence.charge(judge_digest=paid, cycle_id=cycle.id, at=at(1), cost_usd=0.25)
    workshop = make(cycle.id)
    workshop.judge("panel")
    assert spent(workshop) == 0.75


def test_without_the_extra_only_its_judges_are_missing() -> None:
    # In a process of its own: the module cannot be unloaded from this one, where others use it.
    code = """
import sys
sys.modules["openai"] = None  # as where it is not installed
from pathlib import Path
from daemon.paths import Paths
from daemon.settings import Settings
from daemon.workshop import Workshop
registry = {"paid": {"kind": "openai", "cap_usd": 1.0}, "rules": {"kind": "rules"}}
settings = Settings(judging={"train": "rules", "validate": "rules", "second": "rules", "registry": registry})
workshop = Workshop(settings=settings, paths=Paths.under(Path("nowhere")), store=None)
print(workshop.judge("rules").name)
workshop.judge("paid")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "rules"
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("policies.errors.ConfigurationError: judging.registry.paid: ")
    assert last.endswith("pip install 'primum[openai]', or remove the judge")


def test_guard_of_a_hub_model_is_pinned_by_its_revision(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = {"kind": "guard", "model": "org/guard", "guard_kind": "generative"}
    registry: Any = {"rules": {"kind": "rules"}, "loose": guard, "one": guard | {"revision": "a" * 40}}
    registry["other"] = guard | {"revision": "b" * 40}
    settings = Settings(judging={"train": "rules", "validate": "rules", "registry": registry})  # type: ignore[arg-type]
    workshop = Workshop(settings=settings, paths=Paths.under(tmp_path), store=store, cycle_id=None)
    monkeypatch.setattr("daemon.workshop.pick_device", lambda: "cuda")
    assert workshop.judge("one").digest != workshop.judge("other").digest
    assert workshop.judge("one")._device == "cuda"  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match="needs revision"):
        workshop.judge("loose")


def test_a_calibration_beside_an_adapter_is_found_and_a_broken_one_is_named(tmp_path: Path) -> None:
    shipped = shipped_reports({})
    assert {report.judge_name for report in shipped} >= {"embedded", "tutor"}
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / REPORT_FILE).write_text(json.dumps(shipped[0].to_json() | {"judge_digest": "m" * 64}))
    judge = JudgeSettings(kind="local", model="m", adapter=str(mine))
    assert "m" * 64 in {report.judge_digest for report in shipped_reports({"mine": judge})}
    (mine / REPORT_FILE).write_text("{")
    with pytest.raises(DataError, match=r"mine/calibration.json is no calibration report"):
        shipped_reports({"mine": judge})
