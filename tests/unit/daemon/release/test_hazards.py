"""The traps that our way of releasing avoids: the fake must have them, or it proves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from daemon.release.upstream import Upstream
from policies.errors import EngineError
from tests.fakes.vllm_server import WEIGHTS, FakeVllm, answer_of, write_adapter


@pytest.fixture
def vllm() -> Iterator[FakeVllm]:
    with FakeVllm() as made:
        yield made


def load_in_place(vllm: FakeVllm, path: Path) -> None:
    body = {"lora_name": "name", "lora_path": str(path), "load_inplace": True}
    assert httpx.post(f"{vllm.url}/v1/load_lora_adapter", json=body).is_success


def test_in_place_loads_change_and_die_with_their_folder(vllm: FakeVllm, tmp_path: Path) -> None:
    folder, other = write_adapter(tmp_path / "a", "first"), write_adapter(tmp_path / "b", "second")
    upstream = Upstream(vllm.url)
    load_in_place(vllm, folder)
    assert upstream.probe("name") == answer_of(folder)
    (folder / WEIGHTS).write_bytes((other / WEIGHTS).read_bytes())
    assert upstream.probe("name") == answer_of(other)
    (folder / WEIGHTS).unlink()
    with pytest.raises(EngineError):
        upstream.probe("name")
    with pytest.raises(EngineError, match="HTTP 500"):
        upstream.probe("base")


def test_name_used_again_answers_from_a_stale_cache(vllm: FakeVllm, tmp_path: Path) -> None:
    first, second = write_adapter(tmp_path / "a", "first"), write_adapter(tmp_path / "b", "second")
    upstream = Upstream(vllm.url)
    upstream.load("name", first)
    upstream.probe("name")
    upstream.unload("name")
    upstream.load("name", second)
    assert upstream.probe("name") == answer_of(first)


def test_name_cannot_be_loaded_twice(vllm: FakeVllm, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a", "first")
    upstream = Upstream(vllm.url)
    upstream.load("name", folder)
    with pytest.raises(EngineError, match=r"HTTP 400 \(InvalidUserInput\)") as caught:
        upstream.load("name", folder)
    assert "secret" not in str(caught.value)


def test_unloading_what_is_not_there_is_fine(vllm: FakeVllm) -> None:
    Upstream(vllm.url).unload("nobody")
    assert vllm.calls == [("unload", "nobody")], "it was asked, and its 404 is no error"
    assert vllm.names == {"base"}


def test_upstream_that_is_not_up_yet_is_said_plainly() -> None:
    upstream = Upstream(lambda: None)
    assert not upstream.alive()
    with pytest.raises(EngineError, match="is not up"):
        upstream.models()
