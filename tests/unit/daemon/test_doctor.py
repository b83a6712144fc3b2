"""What `primum doctor` says of this machine and this configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from daemon.commands.doctor import Finding, findings
from daemon.settings import load_settings
from policies.engines.models import pick_dtype


def found(what: str, data_dir: Path, **model: str) -> list[Finding]:
    settings = load_settings(None, data_dir=data_dir)
    settings = settings.model_copy(update={"model": settings.model.model_copy(update=model)})
    return [one for one in findings(settings) if one[0] == what]


def test_arithmetic_is_what_the_engine_will_compute_in(tmp_path: Path) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    expected = str(pick_dtype("auto", device)).removeprefix("torch.")
    assert found("arithmetic", tmp_path) == [("arithmetic", True, f"{expected} (model.dtype: auto)", "")]
    assert found("arithmetic", tmp_path, dtype="float16")[0][2] == "float16 (model.dtype: float16)"


def test_arithmetic_that_there_is_not_is_missing(tmp_path: Path) -> None:
    [(_, well, said, mend)] = found("arithmetic", tmp_path, dtype="float8000")
    assert (well, mend) == (False, "correct model.dtype")
    assert "float8000" in said


def test_what_a_server_computes_in_is_not_told(tmp_path: Path) -> None:
    settings = load_settings(None, data_dir=tmp_path)
    engine = settings.engine.model_copy(update={"kind": "openai"})
    told = findings(settings.model_copy(update={"engine": engine}))
    assert "arithmetic" not in [what for what, *_ in told]


def test_everything_that_the_embedded_default_needs_is_here(tmp_path: Path) -> None:
    told = findings(load_settings(None, data_dir=tmp_path))
    machine = {"cores", "memory", "disk"}  # tests run on smaller ones, too
    assert [one for one in told if not one[1] and one[0] not in machine] == []


@pytest.mark.parametrize("folder", ["there", "there/not/yet"])
def test_a_data_directory_that_cannot_be_written_is_missing(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    monkeypatch.setattr("os.access", lambda *_: False)
    assert not found("data directory", tmp_path / folder)[0][1]
