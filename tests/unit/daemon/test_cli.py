"""The command line: exit codes, one readable line on stderr, JSON on stdout, tracebacks only with --debug."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from daemon import cli
from daemon.store.store import Store
from policies.errors import (
    ConfigurationError,
    DataError,
    EngineError,
    Held,
    JudgeError,
    NotEnoughData,
    PrimumError,
    StateError,
    TrainingError,
)
from policies.records import Candidate
from tests.unit.daemon.history import BASE, make_history

ROOT = Path(__file__).parents[3]
CONFIG = "judging: {train: rules, validate: rules, second: null, registry: {rules: {kind: rules}}}\n"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line of stderr."""
        lines = self.err.strip().splitlines()  # click ends the terminal's line after Ctrl-C
        assert len(lines) == 1, self.err
        return lines[0]


Primum = Callable[..., Done]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def primum(
    config: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Primum:
    for name in [name for name in os.environ if name.startswith("PRIMUM_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, placed: bool = True) -> Done:
        place = ["--config", str(config), "--data-dir", str(data_dir)] if placed else []
        monkeypatch.setattr(sys, "argv", ["primum", *arguments, *place])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def history(data_dir: Path, candidate: Callable[..., Candidate]) -> int:
    """A cycle that waits for approval; its number."""
    data_dir.mkdir()
    with Store.open(data_dir / "primum.sqlite3") as store:
        return make_history(store, datetime(2026, 3, 1, 12, tzinfo=UTC), candidate("dpo"))


def test_every_command_is_listed_and_has_help(primum: Primum) -> None:
    done = primum("--help", placed=False)
    assert done.code == 0
    for name in cli._COMMANDS:
        assert f"  {name} " in done.out
        assert primum(name, "--help", placed=False).code == 0


def test_version_is_told(primum: Primum) -> None:
    done = primum("--version", placed=False)
    assert (done.code, done.out.split()[0]) == (0, "primum")


def test_unknown_setting_is_one_line_and_code_2(primum: Primum, config: Path) -> None:
    config.write_text(CONFIG + "sed: 3\nmodel: {nam: x}\n")
    done = primum("status")
    assert done.code == 2
    assert done.line.startswith("primum: ")
    assert "sed: unknown setting" in done.line
    assert "model.nam: unknown setting" in done.line


def test_missing_configuration_file_is_named(primum: Primum, tmp_path: Path) -> None:
    done = primum("status", "--config", str(tmp_path / "nowhere.yaml"), placed=False)
    assert (done.code, "nowhere.yaml does not exist" in done.line) == (2, True)


def test_debug_adds_the_traceback_before_the_same_line(primum: Primum) -> None:
    plain, debug = primum("cycle", "show", "7"), primum("cycle", "show", "7", "--debug")
    assert "Traceback" not in plain.err
    assert "Traceback (most recent call last)" in debug.err
    assert debug.err.splitlines()[-1] == plain.line
    assert debug.code == plain.code == 6


@pytest.mark.parametrize(
    "arguments",
    [
        ("approve", "7", "--reason", "x"),
        ("reject", "7", "--reason", "x"),
        ("cycle", "show", "7"),
        ("cycle", "show", "7", "--json"),
    ],
    ids=" ".join,
)
def test_unknown_cycle_is_a_state_error_that_says_where_to_look(
    primum: Primum, arguments: tuple[str, ...], data_dir: Path
) -> None:
    done = primum(*arguments)
    assert done.code == 6
    assert f"there is no cycle 7 in sqlite:///{data_dir}/primum.sqlite3; `primum cycle list`" in done.line
    assert done.out == ""


def test_rollback_without_an_earlier_release_is_a_state_error(primum: Primum) -> None:
    done = primum("rollback", "--reason", "x")
    assert (done.code, "no earlier release" in done.line) == (6, True)


@pytest.mark.parametrize("command", ["approve", "reject", "rollback"])
def test_review_without_a_reason_is_a_usage_error(primum: Primum, command: str) -> None:
    done = primum(command, *(["1"] if command != "rollback" else []))
    assert done.code == 2
    assert "--reason" in done.err


@pytest.mark.parametrize("arguments", [("fly",), ("status", "--fast"), ("approve", "one", "--reason", "x")])
def test_usage_errors_are_code_2(primum: Primum, arguments: tuple[str, ...]) -> None:
    assert primum(*arguments).code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PrimumError, 1),
        (ConfigurationError, 2),
        (DataError, 3),
        (NotEnoughData, 3),
        (EngineError, 4),
        (JudgeError, 4),
        (TrainingError, 5),
        (StateError, 6),
        (Held, 7),
        (KeyboardInterrupt, 130),
        (click.exceptions.Abort, 130),
        (ZeroDivisionError, 1),
    ],
)
def test_exit_codes_are_the_documented_ones(
    primum: Primum, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], code: int
) -> None:
    @click.command()
    def fail() -> None:
        raise error("what\nhappened")

    monkeypatch.setattr(cli, "_COMMANDS", {"fail": (f"{__name__}:fail", "")})
    monkeypatch.setitem(sys.modules, __name__, type("Module", (), {"fail": fail}))
    done = primum("fail", placed=False)
    assert done.code == code
    assert done.line.startswith("primum: ")
    assert f"{code} " in (cli.__doc__ or "")


def test_data_directory_that_is_a_file_is_one_readable_line(primum: Primum, data_dir: Path) -> None:
    data_dir.write_text("")
    done = primum("status")
    assert done.code == 2
    assert f"data_dir {data_dir} cannot be made (File exists" in done.line


def test_file_that_cannot_be_written_is_told_before_the_work(primum: Primum, tmp_path: Path) -> None:
    done = primum("evaluate", "--prompts", "bank", "--json", str(tmp_path / "none" / "x.json"))
    assert done.code == 3
    assert "x.json cannot be written" in done.line


def test_help_lists_every_command_without_importing_one() -> None:
    code = "import sys; from daemon.cli import main; sys.argv = ['primum', '--help']\ntry: main()\n" + (
        "except SystemExit: print(sorted(name for name in sys.modules if 'daemon.commands' in name))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(f"  {name} " in done.stdout for name in cli._COMMANDS)


def test_fresh_installation_tells_that_nothing_is_deployed(primum: Primum, data_dir: Path) -> None:
    done = primum("status")
    assert (done.code, done.err) == (0, "")
    assert f"Nothing is deployed yet in {data_dir}" in " ".join(done.out.split())
    assert json.loads(primum("status", "--json").out)["deployed"] is None
    assert data_dir.stat().st_mode & 0o077 == 0, "only its own user may read it"


def test_cycles_are_listed_and_shown_as_json(primum: Primum, history: int) -> None:
    listed = json.loads(primum("cycle", "list", "--json").out)
    assert [(row["cycle"], row["state"]) for row in listed] == [(history, "waiting_for_approval")]
    shown = json.loads(primum("cycle", "show", str(history), "--json").out)
    assert shown["seconds"] == {"prepare": 1.5, "sample": 30.0, "judge": 4.25}
    assert shown["decision"]["sentence"] == "dpo is safer and as helpful."
    assert [one["name"] for one in shown["candidates"]] == ["dpo"]


def test_oscillations_are_told_where_the_cycle_counted_them(
    primum: Primum, history: int, data_dir: Path
) -> None:
    assert json.loads(primum("cycle", "show", str(history), "--json").out)["oscillations"] is None
    then, counts = datetime(2026, 3, 1, 13, tzinfo=UTC), {"dpo": 3, "kto": 0}
    with Store.open(data_dir / "primum.sqlite3") as store:
        store.cycles.start_stage(history, "decide", then)
        store.cycles.finish_stage(history, "decide", then, detail={"oscillations": counts})
    assert json.loads(primum("cycle", "show", str(history), "--json").out)["oscillations"] == counts


def test_approval_releases_and_is_recorded_with_its_reason(
    primum: Primum, history: int, data_dir: Path, candidate: Callable[..., Candidate]
) -> None:
    done = primum("approve", str(history), "--reason", "read all flips")
    assert done.code == 0
    assert "No daemon is running here" in done.out
    with Store.open(data_dir / "primum.sqlite3") as store:
        (review,) = store.releases.reviews(history)
        assert (review.action, review.reason) == ("approve", "read all flips")
        assert review.who
        deployed = store.releases.deployed()
        assert deployed is not None
        assert deployed.policy_digest == candidate("dpo").policy.digest
    again = primum("approve", str(history), "--reason", "twice")
    assert (again.code, "is released" in again.line) == (6, True)
    assert primum("rollback", "--reason", "a complaint").code == 0
    with Store.open(data_dir / "primum.sqlite3") as store:
        deployed = store.releases.deployed()
        assert deployed is not None
        assert (deployed.policy_digest, deployed.kind) == (BASE.digest, "rollback")
    twice = primum("rollback", "--reason", "a complaint")
    assert (twice.code, f"--leave {deployed.id}" in twice.line) == (6, True)
    assert "no earlier release" in primum("rollback", "--leave", str(deployed.id), "--reason", "x").line


def test_rejection_keeps_what_is_deployed(primum: Primum, history: int, data_dir: Path) -> None:
    assert primum("reject", str(history), "--reason", "too terse").code == 0
    with Store.open(data_dir / "primum.sqlite3") as store:
        deployed = store.releases.deployed()
        assert deployed is not None
        assert deployed.policy_digest == BASE.digest
        assert store.cycles.get(history).state == "rejected"


def test_incidents_are_entered_listed_without_their_text_and_closed(primum: Primum) -> None:
    assert primum("incident", "add", "a secret question", "--level", "3").code == 0
    listed = primum("incident", "list")
    assert "severe" in listed.out
    assert "secret" not in listed.out
    assert primum("incident", "close", "1").code == 0
    assert "severe" not in primum("incident", "list").out
    done = primum("incident", "close", "1")
    assert (done.code, "no open incident 1" in done.line) == (6, True)


def test_prompts_that_are_not_there_or_not_usable_are_data_errors_that_quote_none(
    primum: Primum, tmp_path: Path
) -> None:
    missing = primum("evaluate", "--prompts", str(tmp_path / "nowhere.jsonl"))
    assert missing.code in (2, 3)
    assert "nowhere.jsonl" in missing.line
    bad = tmp_path / "bad.jsonl"
    bad.write_text(
        '{"prompt": "fine", "harmful_level": 0}\n{"prompt": "my private trouble", "harmful_level": 7}\n'
    )
    done = primum("evaluate", "--prompts", str(bad))
    assert done.code == 3
    assert "bad.jsonl" in done.line
    assert "row 2" in done.line
    assert "private trouble" not in done.err


def test_the_module_itself_is_a_program_with_the_same_codes(config: Path, data_dir: Path) -> None:
    command = [sys.executable, "-m", "daemon.cli", "approve", "7", "--reason", "x"]
    place = ["--config", str(config), "--data-dir", str(data_dir)]
    done = subprocess.run([*command, *place], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (6, "")
    (told,) = done.stderr.splitlines()
    assert told.startswith("primum: there is no cycle 7 in sqlite:///")
