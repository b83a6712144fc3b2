from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.release.artifacts import store_adapter
from daemon.release.controller import ReleaseController, ReleaseState
from daemon.release.router import Route
from daemon.release.upstream import Upstream
from policies.records import Policy
from tests.fakes.vllm_server import WEIGHTS, FakeVllm, answer_of, write_adapter

BASE = Policy("b" * 64)


class House:
    """A fake vLLM, a route, a controller, and stored adapters by what their weights say."""

    def __init__(self, vllm: FakeVllm, folder: Path, *, drain_timeout_s: float = 0.05) -> None:
        self.vllm, self.folder = vllm, folder
        self.adapters_dir = folder / "adapters"
        self.route, self.upstream = Route(), Upstream(vllm.url)
        self.controller = ReleaseController(
            upstream=self.upstream,
            route=self.route,
            base_model_name="base",
            adapters_dir=self.adapters_dir,
            drain_timeout_s=drain_timeout_s,
        )

    def policy(self, weights: str) -> Policy:
        digest, path = store_adapter(
            write_adapter(self.folder / f"from {weights}", weights), self.adapters_dir
        )
        return Policy(BASE.base_digest, digest, path)

    def name(self) -> str | None:
        return self.route.current.name if self.route.current else None


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with FakeVllm() as vllm:
        made = House(vllm, tmp_path)
        yield made
        made.upstream.close()


def test_base_is_deployed_without_a_load(house: House) -> None:
    status = house.controller.reconcile(BASE)
    assert (status.state, status.name, house.name()) == (ReleaseState.RELEASED, "base", "base")
    assert house.vllm.calls == []
    assert house.vllm.asked == ["base"]


def test_adapter_is_loaded_probed_switched_to_and_the_old_one_unloaded(house: House) -> None:
    old, new = house.policy("old"), house.policy("new")
    assert house.controller.reconcile(old).ok
    status = house.controller.reconcile(new)
    assert status.state is ReleaseState.RELEASED
    assert (house.name(), status.unloaded) == (new.adapter_name, (old.adapter_name,))
    assert house.vllm.names == {"base", new.adapter_name}
    assert house.vllm.asked == [old.adapter_name, new.adapter_name]
    assert house.upstream.probe(str(new.adapter_name)) == answer_of(new.adapter_path or Path())


def test_reconciling_again_does_nothing(house: House) -> None:
    policy = house.policy("one")
    house.controller.reconcile(policy)
    before = list(house.vllm.calls), list(house.vllm.asked)
    assert house.controller.reconcile(policy).state is ReleaseState.UNCHANGED
    assert (house.vllm.calls, house.vllm.asked) == before


def test_restart_of_the_upstream_is_mended(house: House) -> None:
    policy = house.policy("one")
    house.controller.reconcile(policy)
    house.vllm.restart()
    assert policy.adapter_name not in house.vllm.names
    assert house.controller.reconcile(policy).state is ReleaseState.RESTORED
    assert house.upstream.probe(str(policy.adapter_name)) == answer_of(policy.adapter_path or Path())


@pytest.mark.parametrize("fault", ["failing", "mute"])
def test_failed_probe_leaves_the_old_route_and_unloads_the_new(house: House, fault: str) -> None:
    old, new = house.policy("old"), house.policy("new")
    house.controller.reconcile(old)
    getattr(house.vllm, fault).add(new.adapter_name)
    status = house.controller.reconcile(new)
    assert not status.ok
    assert status.reason
    assert "secret" not in status.reason
    assert house.name() == old.adapter_name
    assert house.vllm.names == {"base", old.adapter_name}
    getattr(house.vllm, fault).clear()
    assert house.controller.reconcile(new).state is ReleaseState.RELEASED


def test_changed_artifact_is_never_loaded(house: House) -> None:
    old, new = house.policy("old"), house.policy("new")
    house.controller.reconcile(old)
    assert new.adapter_path
    (new.adapter_path / WEIGHTS).chmod(0o644)
    (new.adapter_path / WEIGHTS).write_bytes((old.adapter_path or Path()).joinpath(WEIGHTS).read_bytes())
    status = house.controller.reconcile(new)
    assert "was changed" in str(status.reason)
    assert ("load", new.adapter_name) not in house.vllm.calls
    assert house.name() == old.adapter_name


def test_unreachable_upstream_leaves_the_old_route(house: House) -> None:
    house.controller.reconcile(BASE)
    elsewhere = ReleaseController(
        upstream=Upstream("http://127.0.0.1:9"),
        route=house.route,
        base_model_name="base",
        adapters_dir=house.adapters_dir,
    )
    status = elsewhere.reconcile(house.policy("new"))
    assert "cannot be reached" in str(status.reason)
    assert house.name() == "base"


def test_unknown_base_is_named(house: House) -> None:
    controller = ReleaseController(
        upstream=house.upstream, route=house.route, base_model_name="nobody", adapters_dir=house.adapters_dir
    )
    assert "'nobody'" in str(controller.reconcile(BASE).reason)


def test_old_name_stays_loaded_while_a_request_uses_it(house: House) -> None:
    old, new = house.policy("old"), house.policy("new")
    house.controller.reconcile(old)
    request = house.route.begin()
    status = house.controller.reconcile(new)
    assert (status.unloaded, status.lingering) == ((), (old.adapter_name,))
    assert old.adapter_name in house.vllm.names
    house.route.end(request)
    status = house.controller.reconcile(new)
    assert (status.state, status.unloaded) == (ReleaseState.UNCHANGED, (old.adapter_name,))
    assert old.adapter_name not in house.vllm.names


def test_rollback_to_a_lingering_policy_does_not_unload_it(house: House) -> None:
    old, new = house.policy("old"), house.policy("new")
    house.controller.reconcile(old)
    request = house.route.begin()
    house.controller.reconcile(new)
    status = house.controller.reconcile(old)
    house.route.end(request)
    assert (house.name(), status.unloaded) == (old.adapter_name, (new.adapter_name,))
    house.controller.reconcile(old)
    assert house.vllm.names == {"base", old.adapter_name}


def test_release_waits_for_the_last_request_of_the_old_policy(tmp_path: Path) -> None:
    with FakeVllm() as vllm:
        house = House(vllm, tmp_path, drain_timeout_s=5.0)
        old, new = house.policy("old"), house.policy("new")
        house.controller.reconcile(old)
        request = house.route.begin()
        release = threading.Thread(target=house.controller.reconcile, args=[new])
        release.start()
        while house.name() != new.adapter_name:
            pass
        assert old.adapter_name in vllm.names
        house.route.end(request)
        release.join(5.0)
        assert vllm.names == {"base", new.adapter_name}
        house.upstream.close()


def test_adapter_that_a_worker_loaded_is_reloaded_from_the_immutable_folder(house: House) -> None:
    policy = house.policy("one")
    house.upstream.load(str(policy.adapter_name), house.folder / "from one")
    assert house.controller.reconcile(policy).ok
    card = house.upstream.models()[str(policy.adapter_name)]
    assert card["root"] == str(policy.adapter_path)


def test_sweep_unloads_leftovers_only(house: House) -> None:
    deployed, candidate, leftover = (house.policy(word) for word in ("deployed", "candidate", "leftover"))
    house.controller.reconcile(deployed)
    for policy in (candidate, leftover):
        house.upstream.load(str(policy.adapter_name), policy.adapter_path or Path())
    house.upstream.load("somebody-elses", leftover.adapter_path or Path())
    gone = house.controller.sweep(keep=[str(candidate.adapter_name)])
    assert gone == (leftover.adapter_name,)
    assert house.vllm.names == {"base", "somebody-elses", deployed.adapter_name, candidate.adapter_name}
