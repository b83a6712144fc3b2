"""Installations with a cycle, shared by the tests of whole cycles."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from daemon.store.store import Store
from policies.records import Policy
from tests.unit.daemon.cycle.whole import BASE, Engine, Setting, Workshop


@pytest.fixture
def setting(
    store: Store, at: Callable[[float], datetime], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Setting:
    monkeypatch.setattr(Engine, "refuses", {})
    store.releases.record_initial(BASE, at(0))
    config = {"prompts": {"split_seed": 1}}
    cycle = store.cycles.create(incumbent=BASE, seed=7, config_digest="c" * 64, config=config, at=at(0))
    (tmp_path / "cycle").mkdir()
    found = Setting(store, cycle, tmp_path, lambda: at(1))
    found.know(Workshop())
    return found


@pytest.fixture
def later(setting: Setting, at: Callable[[float], datetime]) -> Setting:
    """A second cycle, of a released policy that has learnt to decline what is harmful."""
    released = Policy(BASE.base_digest, "r" * 64, setting.folder / "dpo")
    setting.store.cycles.advance(setting.cycle.id, "running", "failed", "train", at(2))
    Engine.refuses[released.digest] = {3}
    setting.cycle = setting.store.cycles.create(
        incumbent=released, seed=8, config_digest="c" * 64, config={}, at=at(3)
    )
    return setting
