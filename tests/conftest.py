"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres", action="store_true", help="run the tests that use the store on PostgreSQL, too"
    )


def shared_data_dir() -> Path | None:
    """The folder with real data (cares, medsafetybench, medquad), which the repository does not ship.

    PRIMUM_TEST_DATA names it; else it is ../shared/data beside the repository; None where neither is there.
    """
    named = os.environ.get("PRIMUM_TEST_DATA")
    folder = Path(named) if named else _BESIDE_THE_REPOSITORY
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """`shared_data_dir()`, or the test is skipped."""
    folder = shared_data_dir()
    if folder is None:
        pytest.skip("no real data: PRIMUM_TEST_DATA names no folder and ../shared/data does not exist")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random model (tests/tiny.py): the real code paths in milliseconds."""
    from tests.tiny import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random LoRA adapter that fits `tiny_model`."""
    from tests.tiny import make_tiny_adapter

    return make_tiny_adapter(tiny_model, tmp_path_factory.mktemp("adapter") / "tiny")
