"""Training processes: one candidate each, one of them ready ahead of its job."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daemon.cycle.trainers import Trainers
from policies.errors import TrainingError
from policies.training.recipe import TrainingJob
from tests.unit.policies.training.jobs import job


@pytest.fixture
def trainers() -> Iterator[Trainers]:
    with Trainers() as made:
        yield made


def train(trainers: Trainers, job: TrainingJob, *, timeout_s: float = 300, **more: Any) -> dict[str, Any]:
    return trainers.train(
        job,
        job_file=Path(job.output_dir).parent / "job.json",
        timeout_s=timeout_s,
        report=lambda _event: None,
        **more,
    )


def test_a_process_that_was_started_ahead_takes_the_job_and_the_next_one_waits(
    trainers: Trainers, tiny_model: Path, tmp_path: Path
) -> None:
    trainers.start_ahead()
    ahead = trainers._waiting
    trainers.start_ahead()
    assert trainers._waiting is ahead, "one at most waits"
    assert ahead is not None
    events: list[dict[str, Any]] = []
    dpo = job(tmp_path / "dpo", tiny_model, "dpo")
    card = trainers.train(
        dpo, job_file=tmp_path / "job.json", timeout_s=300, report=events.append, last=False
    )
    assert card == json.loads((Path(dpo.output_dir) / "card.json").read_text())
    assert [event["event"] for event in events] == ["start", "step", "step", "step", "done"]
    assert ahead._process.returncode == 0
    waiting = trainers._waiting
    assert waiting is not None
    assert waiting is not ahead
    kto = train(trainers, job(tmp_path / "kto", tiny_model, "kto"))
    assert kto["method"] == "kto"
    assert waiting._process.returncode == 0
    assert trainers._waiting is None


def test_a_finished_candidate_is_taken_as_it_is(trainers: Trainers, tiny_model: Path, tmp_path: Path) -> None:
    one = job(tmp_path, tiny_model, "kto")
    folder = Path(one.output_dir)
    folder.mkdir()
    known = {"preferences_digest": one.preferences_digest, "recipe_digest": one.recipe.digest, "left": "by"}
    (folder / "card.json").write_text(json.dumps(known))
    assert train(trainers, one) == known
    assert trainers._waiting is None
    other = replace(one, preferences_digest="0" * 64)
    assert train(trainers, other)["preferences_digest"] == "0" * 64


def test_a_process_that_waits_for_nothing_ends_with_its_trainers() -> None:
    with Trainers() as trainers:
        trainers.start_ahead()
        waiting = trainers._waiting
        assert waiting is not None
        assert waiting._process.poll() is None
    assert waiting._process.returncode is not None


def test_a_job_that_fails_says_why(trainers: Trainers, tiny_model: Path, tmp_path: Path) -> None:
    trainers.start_ahead()
    reckless = job(tmp_path, tiny_model, "dpo", learning_rate=1e30, max_grad_norm=1e30)
    with pytest.raises(TrainingError, match="not a number; lower learning_rate"):
        train(trainers, reckless)


def test_a_process_that_died_while_it_waited_is_replaced(
    trainers: Trainers, tiny_model: Path, tmp_path: Path
) -> None:
    trainers.start_ahead()
    assert trainers._waiting is not None
    trainers._waiting._process.kill()
    trainers._waiting._process.wait()
    assert train(trainers, job(tmp_path, tiny_model, "kto"))["method"] == "kto"


def test_a_base_that_is_not_to_be_had_early_keeps_no_process_from_its_job(
    trainers: Trainers, tiny_model: Path, tmp_path: Path
) -> None:
    trainers.start_ahead(base=str(tmp_path / "no-such/model/at-all"), cache_dir=tmp_path / "models")
    ahead = trainers._waiting
    assert ahead is not None
    assert train(trainers, job(tmp_path, tiny_model, "kto"))["method"] == "kto"
    assert ahead._process.returncode == 0


def test_a_job_that_takes_too_long_is_ended(trainers: Trainers, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"longer than training.timeout_s = 0\.2"):
        train(trainers, job(tmp_path, tiny_model, "dpo"), timeout_s=0.2)


def test_without_a_job_the_process_ends_in_peace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from policies.training import __main__

    monkeypatch.setattr(__main__, "exit_with_parent", lambda _pid: None)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert __main__.main([]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert __main__.main(["--base", "a/b", "c"]) == 0
    assert capsys.readouterr().out == ""
    assert __main__.main(["--base", "a/b"]) == 2
