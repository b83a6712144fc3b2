"""The daemon's look at what is served, against a server that loses it; and what does not end the daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from daemon.loop import Daemon
from daemon.paths import Paths
from daemon.release.artifacts import store_adapter
from daemon.settings import Settings
from daemon.store.store import Store
from daemon.wiring import Place
from policies.records import Policy
from tests.fakes.vllm_server import FakeVllm, write_adapter

RULES = {"train": "rules", "validate": "rules", "second": None, "registry": {"rules": {"kind": "rules"}}}


class House:
    """A daemon before a server, with a release; `now` is its clock."""

    def __init__(self, vllm: FakeVllm, store: Store, folder: Path, at: datetime) -> None:
        self.vllm, self.now, self.told = vllm, 0.0, list[str]()
        paths = Paths.under(folder / "data")
        digest, path = store_adapter(write_adapter(folder / "trained", "kind"), paths.adapters)
        self.policy = Policy("b" * 64, digest, path)
        store.releases.record_initial(self.policy, at)
        engine = {"kind": "openai", "base_url": vllm.url}
        schedule = {"first_at_once": False, "cron": "0 0 29 2 *"}
        settings = Settings(engine=engine, judging=RULES, schedule=schedule)  # type: ignore[arg-type]
        place = Place(settings, None, paths, store)
        self.daemon = Daemon(place, say=self.told.append, clock=lambda: self.now)
        self.daemon._start_policy_server(Path())

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.daemon.tick()

    @property
    def ready(self) -> bool:
        return self.daemon._route.current is not None and not self.daemon._lost


@pytest.fixture
def house(tmp_path: Path, store: Store, at: Callable[[float], datetime]) -> Iterator[House]:
    with FakeVllm() as vllm:
        yield House(vllm, store, tmp_path, at(0))


def test_a_release_that_the_server_lost_is_loaded_again(house: House) -> None:
    house.tick()
    assert (house.ready, house.vllm.names) == (True, {"base", str(house.policy.adapter_name)})
    house.vllm.restart()
    house.tick(1.0)
    assert house.vllm.names == {"base"}, "it is not asked at every tick"
    house.tick(10.0)
    assert (house.ready, house.vllm.names) == (True, {"base", str(house.policy.adapter_name)})
    said = len(house.told)
    house.tick(10.0)
    assert len(house.told) == said, "nothing has changed"


def test_while_it_cannot_be_loaded_again_nothing_says_that_it_is_served(house: House) -> None:
    house.tick()
    assert house.daemon._released is not None
    house.vllm.restart()
    house.vllm.failing.add(str(house.policy.adapter_name))
    house.tick(10.0)
    assert not house.ready
    assert house.daemon._released is None
    assert "is not served yet" in house.told[-1]
    house.vllm.failing.clear()
    house.tick()
    assert house.ready


def test_no_error_ends_the_daemon_and_one_look_does_not_keep_it_from_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device: what a patient asked")

    monkeypatch.setattr(house.daemon._controller, "reconcile", full)
    looked = []
    monkeypatch.setattr(house.daemon, "_start_if_due", lambda: looked.append(1))
    house.tick()
    assert looked == [1]
    assert house.told == ["unexpected OSError; it is tried again"]


def test_a_worker_that_fails_for_ever_is_waited_for_at_most_ten_minutes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dead:
        def ended(self) -> int:
            return 1

        def wait(self) -> int:
            return 1

        def last_words(self) -> str:
            return "no"

    house.daemon._failures = 5000
    monkeypatch.setattr(house.daemon, "_worker", Dead())
    house.daemon._reap()
    assert house.daemon._not_before == house.now + 600.0


def test_what_a_cycle_had_loaded_to_measure_it_is_unloaded_before_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.tick()
    other = write_adapter(house.daemon._place.paths.data_dir / "candidate", "other")
    house.daemon._controller._upstream.load("primum-candidate", other)
    assert "primum-candidate" in house.vllm.names
    began: list[object] = []
    monkeypatch.setattr("daemon.loop.Worker", lambda arguments: began.append(arguments) or _Idle())
    monkeypatch.setattr("daemon.loop.is_due", lambda *_, **__: True)
    house.tick()
    assert len(began) == 1
    assert house.vllm.names == {"base", str(house.policy.adapter_name)}


def test_a_folder_that_cannot_be_read_is_told_and_not_served(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    house.tick()
    house.vllm.restart()
    monkeypatch.setattr("daemon.release.controller.verify_adapter", broken)
    house.tick(10.0)
    assert (house.ready, house.daemon._released) == (False, None)
    assert "Input/output error" in house.told[-1]


class _Idle:
    """A worker that has nothing to tell and does not end."""

    def events(self) -> list[dict[str, object]]:
        return []

    def ended(self) -> None:
        return None
