from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from daemon.release.embedded import EmbeddedServer, ServerState, server_command
from policies.errors import EngineError

# A child that announces itself, or not, and waits.
ANNOUNCE = """
import argparse, json, os, pathlib, signal, sys
parser = argparse.ArgumentParser()
for name in ("--port", "--ready-file", "--parent-pid"):
    parser.add_argument(name)
args = parser.parse_args()
pathlib.Path(args.ready_file).with_name("key").write_text(os.environ["PRIMUM_ENGINE_API_KEY"])
path = pathlib.Path(args.ready_file)
path.with_name("partial").write_text(json.dumps({"port": 4321, "pid": os.getpid()}))
path.with_name("partial").rename(path)
signal.pause()
"""
SILENT = "import signal; signal.pause()"
BROKEN = "import sys; sys.exit(3)"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


Make = Callable[..., EmbeddedServer]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Make]:
    made: list[EmbeddedServer] = []

    def build(code: str, **changes: float) -> EmbeddedServer:
        command: Sequence[str] = [sys.executable, "-S", "-c", code]
        made.append(EmbeddedServer(command=command, run_dir=tmp_path, clock=clock, **changes))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for server in made:
        server.stop()


def tick_until(server: EmbeddedServer, state: ServerState) -> None:
    end = time.monotonic() + 60.0
    while server.tick() is not state:
        assert time.monotonic() < end, f"still {server.state}"
        time.sleep(0.005)


def test_child_becomes_ready_and_stops(make: Make, tmp_path: Path) -> None:
    server = make(ANNOUNCE)
    assert server.url is None
    server.start()
    assert server.state is ServerState.STARTING
    tick_until(server, ServerState.READY)
    assert (server.url, server.generation) == ("http://127.0.0.1:4321", 1)
    assert (tmp_path / "key").read_text() == server.api_key
    server.stop()
    assert (server.state, server.url, server.pid) == (ServerState.STOPPED, None, None)


def test_ready_file_of_another_process_is_not_believed(make: Make, tmp_path: Path) -> None:
    server = make(SILENT)
    server.start()
    (tmp_path / "policy-server.json").write_text('{"port": 1, "pid": 1}')
    assert server.tick() is ServerState.STARTING
    (tmp_path / "policy-server.json").write_text("{")
    assert server.tick() is ServerState.STARTING


def test_dead_child_is_restarted_after_the_backoff(make: Make, clock: Clock) -> None:
    server = make(ANNOUNCE, backoff_s=2.0)
    server.start()
    tick_until(server, ServerState.READY)
    assert server._process
    server._process.kill()
    tick_until(server, ServerState.BACKING_OFF)
    assert server.url is None
    clock.now += 1.9
    assert server.tick() is ServerState.BACKING_OFF
    clock.now += 0.2
    assert server.tick() is ServerState.STARTING
    tick_until(server, ServerState.READY)
    assert server.generation == 2


def test_backoff_doubles_up_to_its_cap_and_starts_anew_when_stable(make: Make, clock: Clock) -> None:
    server = make(BROKEN, backoff_s=1.0, backoff_cap_s=3.0)
    server.start()
    for wait in (1.0, 2.0, 3.0, 3.0):
        tick_until(server, ServerState.BACKING_OFF)
        clock.now += wait - 0.01
        assert server.tick() is ServerState.BACKING_OFF
        clock.now += 0.02
        assert server.tick() is ServerState.STARTING
    server._command[-1] = ANNOUNCE
    clock.now += 4.0
    tick_until(server, ServerState.BACKING_OFF)
    clock.now += 4.0
    tick_until(server, ServerState.READY)
    clock.now += 301.0
    assert server.tick() is ServerState.READY
    assert server._process
    server._process.kill()
    tick_until(server, ServerState.BACKING_OFF)
    clock.now += 1.01
    assert server.tick() is ServerState.STARTING


def test_child_that_never_gets_ready_is_ended(make: Make, clock: Clock) -> None:
    server = make(SILENT, start_timeout_s=60.0)
    server.start()
    assert server.tick() is ServerState.STARTING
    clock.now += 61.0
    assert server.tick() is ServerState.BACKING_OFF
    assert server.pid is None


def test_missing_program_is_an_engine_error(tmp_path: Path, clock: Clock) -> None:
    server = EmbeddedServer(command=[str(tmp_path / "missing")], run_dir=tmp_path, clock=clock)
    with pytest.raises(EngineError, match="cannot be started"):
        server.start()


def test_real_command_names_model_and_adapters(tmp_path: Path) -> None:
    command = server_command(model=tmp_path / "m", adapters_dir=tmp_path / "a", threads=2)
    assert command[1:3] == ["-m", "policies.engines.server"]
    assert command[command.index("--adapters-dir") + 1] == str(tmp_path / "a")
    assert command[-2:] == ["--threads", "2"]
