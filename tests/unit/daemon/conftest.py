"""A real database for each test, and short ways to make the records that go into it.

It is a SQLite file. With --postgres the tests that use it run on a real PostgreSQL as well.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.store.engine import open_database
from daemon.store.rows import CycleRow
from daemon.store.store import Store
from policies.records import Ask, Candidate, Policy, Prompt, Response, Sampling

if TYPE_CHECKING:
    from tests.fakes.postgres_server import PostgresServer

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
BASE = Policy("b" * 64)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "data" / "primum.db"


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database without rows: copied for each test, since migrating takes longer than a test."""
    path = tmp_path_factory.mktemp("empty") / "primum.db"
    Store.open(path).close()
    return path


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" not in metafunc.fixturenames or not metafunc.config.getoption("--postgres"):
        return
    if metafunc.definition.get_closest_marker("sqlite") is None:
        metafunc.parametrize("backend", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])


@pytest.fixture
def backend() -> str:
    """Which database the test meets; --postgres gives both in turn."""
    return "sqlite"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server with a database `migrated`, which is copied for each test."""
    from tests.fakes.postgres_server import PostgresServer

    with PostgresServer() as server:
        Store.open(server.database("migrated")).close()
        yield server


@pytest.fixture
def blank(backend: str, database: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of a database that nobody has migrated."""
    if backend == "sqlite":
        yield str(database)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    yield server.database("blank")
    server.drop("blank")


@pytest.fixture
def address(backend: str, database: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of a migrated database without rows: a file's path or a URL."""
    if backend == "sqlite":
        database.parent.mkdir()
        shutil.copyfile(request.getfixturevalue("empty"), database)
        yield str(database)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    yield server.database("mine", template="migrated")
    server.drop("mine")


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    with Store(open_database(address)) as opened:
        yield opened


@pytest.fixture
def at() -> Callable[[float], datetime]:
    """The instant so many seconds after the beginning of the test's time."""
    return lambda seconds=0.0: START + timedelta(seconds=seconds)


@pytest.fixture
def base() -> Policy:
    return BASE


@pytest.fixture
def prompt() -> Callable[..., Prompt]:
    return lambda n=0, **more: Prompt(
        text=f"question {n}", harmful_level=n % 4, base_prompt=f"base {n}", **more
    )


@pytest.fixture
def answer() -> Callable[..., Response]:
    """An answer to a prompt, keyed as an engine would."""

    def make(prompt: Prompt, text: str = "an answer", seed: int = 1, policy: Policy = BASE) -> Response:
        sampling = Sampling()
        key = Ask(prompt, sampling, seed).key(policy.digest)
        return Response(
            key, policy.digest, prompt.digest, sampling.digest, "plain", seed, text, "stop", len(text.split())
        )

    return make


@pytest.fixture
def candidate() -> Callable[..., Candidate]:
    def make(method: str = "kto", parent: Policy = BASE, adapter: str = "a") -> Candidate:
        policy = Policy(BASE.base_digest, adapter * 64, Path(f"adapters/{adapter}"))
        return Candidate(method, parent.digest, "p" * 64, f"{method}-recipe", policy, {"losses": [0.7, 0.5]})

    return make


@pytest.fixture
def waiting(store: Store, at: Callable[[float], datetime]) -> Callable[[Candidate, Policy], CycleRow]:
    """Runs a cycle up to the point where it waits for a person, with this candidate as the winner."""

    def make(winner: Candidate, incumbent: Policy = BASE) -> CycleRow:
        cycle = store.cycles.create(
            incumbent=incumbent, seed=7, config_digest="c" * 64, config={"seed": 7}, at=at(0)
        )
        store.results.save_candidate(cycle.id, winner, at(1))
        store.results.save_decision(cycle.id, outcome="promote", winner_key=winner.key, body={}, at=at(2))
        return store.cycles.advance(cycle.id, "running", "waiting_for_approval", "decide", at(3))

    return make
