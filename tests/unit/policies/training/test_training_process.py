"""`python -m policies.training` on a tiny model: a first candidate by DPO, continued by KTO."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from policies.engines.adapters import ADAPTER_FILES, adapter_digest
from policies.engines.models import model_digest
from policies.engines.transformers_engine import TransformersEngine
from policies.errors import TrainingError
from policies.records import Ask, Policy, Prompt, Sampling
from policies.training.recipe import TrainingJob
from tests.unit.policies.training.jobs import ROWS, job

ROOT = Path(__file__).parents[4]


@dataclass(frozen=True)
class Ended:
    job: TrainingJob
    code: int
    events: list[dict[str, Any]]
    stderr: str

    @property
    def output(self) -> Path:
        return Path(self.job.output_dir)

    @property
    def card(self) -> dict[str, Any]:
        return json.loads((self.output / "card.json").read_text())


def run(job: TrainingJob, file: Path) -> Ended:
    job.write(file)
    process = subprocess.run(
        [sys.executable, "-m", "policies.training", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    events = [json.loads(line) for line in process.stdout.splitlines() if line.startswith('{"event"')]
    return Ended(job, process.returncode, events, process.stderr)


@pytest.fixture(scope="module")
def dpo(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("dpo")
    return run(job(folder, tiny_model, "dpo", epochs=2), folder / "job.json")


@pytest.fixture(scope="module")
def kto(tiny_model: Path, dpo: Ended, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("kto")
    return run(job(folder, tiny_model, "kto", parent=dpo.output), folder / "job.json")


@pytest.fixture(params=["dpo", "kto"])
def ended(request: pytest.FixtureRequest) -> Ended:
    return request.getfixturevalue(request.param)


def test_candidate_is_an_adapter_in_fp32_with_its_card_and_nothing_else(ended: Ended) -> None:
    assert ended.code == 0, ended.stderr[-2000:]
    assert {path.name for path in ended.output.iterdir()} == {*ADAPTER_FILES, "card.json"}
    weights = load_file(ended.output / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert not any(".ref." in name for name in weights), "the frozen reference is no part of the candidate"


def test_card_is_complete(tiny_model: Path, ended: Ended) -> None:
    card, job = ended.card, ended.job
    assert card["method"] == job.recipe.method
    assert card["recipe_digest"] == job.recipe.digest
    assert card["recipe"]["learning_rate"] == job.recipe.learning_rate
    assert card["seed"] == job.seed
    assert card["rows"] == len(ROWS[job.recipe.method])
    assert card["preferences_digest"] == job.preferences_digest
    assert card["base_digest"] == model_digest(tiny_model)
    assert card["parent_digest"] == card["reference_digest"] == job.parent_digest
    assert card["adapter_digest"] == adapter_digest(ended.output)
    assert card["seconds"] > 0
    assert set(card["versions"]) == {"torch", "transformers", "trl", "peft"}
    steps = 3 * int(job.recipe.epochs)
    assert [point["step"] for point in card["losses"]] == list(range(1, steps + 1))


def test_progress_is_told_step_by_step(ended: Ended) -> None:
    kinds = [event["event"] for event in ended.events]
    losses = ended.card["losses"]
    assert kinds == ["start", *["step"] * len(losses), "done"]
    assert [event["loss"] for event in ended.events[1:-1]] == [point["loss"] for point in losses]
    assert {event["of"] for event in ended.events[1:-1]} == {len(losses)}


def test_dpo_lowers_its_loss(dpo: Ended) -> None:
    losses = [point["loss"] for point in dpo.card["losses"]]
    assert losses[-1] < losses[0]


def test_adapter_names_the_base_by_digest_and_no_local_path(tiny_model: Path, ended: Ended) -> None:
    config = (ended.output / "adapter_config.json").read_text()
    assert json.loads(config)["base_model_name_or_path"] == f"sha256:{model_digest(tiny_model)}"
    assert str(tiny_model) not in config


def test_nothing_half_made_stays(ended: Ended) -> None:
    names = {path.name for path in ended.output.parent.iterdir()}
    assert names == {"candidate", "job.json", f"{ended.job.recipe.method}.jsonl"}


def test_candidate_answers_otherwise_than_its_parent(tiny_model: Path, dpo: Ended, kto: Ended) -> None:
    engine = TransformersEngine(model_path=tiny_model, dtype="float32")
    base = model_digest(tiny_model)
    policies = [Policy(base), *(Policy(base, adapter_digest(one.output), one.output) for one in (dpo, kto))]
    asks = [Ask(Prompt(f"question {n}?", 0, "q"), Sampling(8), 0) for n in range(6)]
    answers = [tuple(sorted((r.prompt_digest, r.text) for r in engine.generate(p, asks))) for p in policies]
    assert len(set(answers)) == 3


def test_another_process_trains_the_same_adapter_from_the_same_job(dpo: Ended, tmp_path: Path) -> None:
    from policies.training.core import run as train
    from policies.training.dpo import build

    again = train(replace(dpo.job, output_dir=str(tmp_path / "again")), build, report=lambda _event: None)
    assert again["adapter_digest"] == dpo.card["adapter_digest"]


def test_weights_that_are_no_numbers_fail_with_the_reason_and_leave_nothing(
    tiny_model: Path, tmp_path: Path
) -> None:
    from policies.training.core import run as train
    from policies.training.dpo import build

    reckless = job(tmp_path, tiny_model, "dpo", learning_rate=1e30, max_grad_norm=1e30)
    with pytest.raises(TrainingError, match="not a number; lower learning_rate"):
        train(reckless, build, report=lambda _event: None)
    assert {path.name for path in tmp_path.iterdir()} == {"dpo.jsonl"}


def test_job_with_an_unknown_key_fails_with_its_reason(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from policies.training.__main__ import main

    job(tmp_path, tiny_model, "dpo").write(tmp_path / "job.json")
    text = (tmp_path / "job.json").read_text().replace('"beta"', '"betta"')
    (tmp_path / "job.json").write_text(text)
    assert main([str(tmp_path / "job.json")]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["event"] == "failed"
    assert "unknown recipe keys ['betta']" in told["error"]
