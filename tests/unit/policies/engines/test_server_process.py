"""The server as a process of its own, with a fake engine in place of the model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from policies.engines.server import write_ready_file

SERVE = """
import sys
from policies.engines import server
from tests.fakes.chat_engine import FakeChatEngine
server.build_engine = lambda *_, **__: FakeChatEngine()
sys.exit(server.main(sys.argv[1:]))
"""
ROOT = Path(__file__).parents[4]


def until(condition: object, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_ready_file_tells_a_port_that_answers_and_sigterm_ends_it(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-c", SERVE, "--model", "none", "--port", "0", "--ready-file", str(ready)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        until(ready.exists)
        told = json.loads(ready.read_text())
        assert told["pid"] == process.pid
        assert httpx.get(f"http://127.0.0.1:{told['port']}/health").status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert process.returncode in (0, -signal.SIGTERM)


def test_server_ends_when_its_parent_was_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    arguments = [sys.executable, "-c", SERVE, "--model", "none", "--ready-file", str(ready)]
    start = (
        "import os, subprocess, sys\n"
        f"subprocess.Popen({arguments!r} + ['--parent-pid', str(os.getpid())]).wait()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", start], cwd=ROOT)
    until(ready.exists)
    child = json.loads(ready.read_text())["pid"]
    parent.kill()
    parent.wait()
    try:
        until(lambda: gone(child))
    finally:
        orphaned = not gone(child)
        if orphaned:
            os.kill(child, signal.SIGKILL)
    assert not orphaned
    assert parent.returncode == -signal.SIGKILL


def test_taken_port_is_one_readable_line(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-c", SERVE, "--model", "none", "--port", port]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 4
    assert len(ended.stderr.splitlines()) == 1


def test_ready_file_is_put_in_place_whole(tmp_path: Path) -> None:
    write_ready_file(tmp_path / "ready", port=5)
    assert json.loads((tmp_path / "ready").read_text()) == {"port": 5, "pid": os.getpid()}
    assert [path.name for path in tmp_path.iterdir()] == ["ready"]
