"""Opening, migrating and sharing the database."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_mock_engine, inspect, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from daemon.store.engine import (
    alembic_config,
    deciding,
    journal_mode,
    migrate,
    open_database,
    reading,
    writing,
)
from daemon.store.store import Store
from daemon.store.tables import metadata, verdicts
from policies.errors import ConfigurationError, DataError, StateError

ROOT = Path(__file__).parents[4]


def test_file_and_folder_are_private(database: Path) -> None:
    former = os.umask(0o022)
    try:
        open_database(database).dispose()
    finally:
        os.umask(former)
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    assert stat.S_IMODE(database.parent.stat().st_mode) == 0o700


@pytest.mark.sqlite
def test_connections_check_foreign_keys_wait_for_locks_and_sync_fully(store: Store) -> None:
    with reading(store.engine) as connection:
        found = [
            connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("foreign_keys", "busy_timeout", "synchronous", "journal_mode")
        ]
    assert found == [1, 30_000, 2, journal_mode()]


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 40, 1), "delete"),
        ((3, 44, 5), "delete"),
        ((3, 44, 6), "wal"),
        ((3, 45, 0), "delete"),
        ((3, 50, 6), "delete"),
        ((3, 50, 7), "wal"),
        ((3, 51, 0), "delete"),
        ((3, 51, 2), "delete"),
        ((3, 51, 3), "wal"),
        ((3, 52, 0), "wal"),
    ],
)
def test_wal_only_where_its_reset_bug_is_mended(version: tuple[int, ...], mode: str) -> None:
    assert journal_mode(version) == mode


@pytest.mark.sqlite
def test_a_url_and_a_path_open_the_same_file(store: Store, database: Path) -> None:
    engine = open_database(f"sqlite:///{database}")
    assert engine.url.database == store.engine.url.database
    engine.dispose()


@pytest.mark.parametrize("url", ["postgresql://a:hush@host/db", "postgresql+psycopg://a:hush@host/db"])
def test_a_postgresql_url_means_our_driver_or_says_how_to_get_it(url: str) -> None:
    if importlib.util.find_spec("psycopg") is None:
        with pytest.raises(ConfigurationError, match=r"primum\[postgres\]") as caught:
            open_database(url)
        assert "hush" not in str(caught.value)
        return
    engine = open_database(url)
    assert engine.url.drivername == "postgresql+psycopg"
    assert "hush" not in str(engine.url)
    engine.dispose()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://host/db", "://"])
def test_an_unfit_url_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError):
        open_database(url)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database at all, but long enough to be read as a header " * 20)
    with pytest.raises(StateError, match=r"notes\.txt.*not a database"):
        open_database(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="writable data directory"):
        open_database(tmp_path / "file" / "primum.db")


def test_migrated_schema_is_the_metadata(store: Store) -> None:
    with reading(store.engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def _shape(engine: Engine) -> dict[str, object]:
    """What compare_metadata does not look at: keys, checks and the names of all constraints."""
    look = inspect(engine)
    shape: dict[str, object] = {}
    for table in sorted(set(look.get_table_names()) - {"alembic_version"}):
        foreign = [(key["name"], key["constrained_columns"]) for key in look.get_foreign_keys(table)]
        unique = [(key["name"], key["column_names"]) for key in look.get_unique_constraints(table)]
        checks = [(check["name"], check["sqltext"]) for check in look.get_check_constraints(table)]
        nulls = [(column["name"], column["nullable"]) for column in look.get_columns(table)]
        parts = (look.get_pk_constraint(table), sorted(foreign), sorted(unique), checks, nulls)
        shape[table] = (*parts, _never_numbers_again(engine, table))
    return shape


def _never_numbers_again(engine: Engine, table: str) -> bool:
    """PostgreSQL's sequences never do."""
    if engine.dialect.name != "sqlite":
        return True
    with reading(engine) as connection:
        statement = text("SELECT sql FROM sqlite_master WHERE name = :name")
        return "AUTOINCREMENT" in connection.execute(statement, {"name": table}).scalar_one()


def test_keys_checks_and_names_agree_with_the_metadata(
    store: Store, backend: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made = open_database(tmp_path / "made.db" if backend == "sqlite" else request.getfixturevalue("blank"))
    with writing(made) as connection:
        metadata.create_all(connection)
    assert _shape(store.engine) == _shape(made)
    made.dispose()


def test_migrations_go_up_and_down_and_up_again(store: Store) -> None:
    before = _shape(store.engine)
    config = alembic_config()
    with deciding(store.engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert _shape(store.engine) == {}
    migrate(store.engine)
    assert _shape(store.engine) == before


def test_migrating_again_keeps_the_rows(store: Store, prompt) -> None:
    store.answers.save_prompts([prompt(1)])
    migrate(store.engine)
    assert store.answers.counts()["prompts"] == 1


def test_a_database_of_a_newer_version_is_refused(store: Store, address: str) -> None:
    with writing(store.engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StateError, match=r"9999.*install the newer"):
        Store.open(address)


def test_a_failed_migration_leaves_the_former_schema(blank: str) -> None:
    engine = open_database(blank)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE events (id INTEGER)"))  # the last table that 0001 makes
    with pytest.raises(StateError, match="already exists"):
        migrate(engine)
    assert inspect(engine).get_table_names() == ["events"]
    engine.dispose()


OPEN_AND_WRITE = """
import sys
from daemon.store.store import Store
from policies.records import Prompt
with Store.open(sys.argv[1]) as store:
    for n in range(20):
        shared, own = f"shared {n}", f"own {sys.argv[2]} {n}"
        print(store.answers.save_prompts([Prompt(text, 0, text) for text in (shared, own)]))
"""


def test_processes_that_start_and_write_at_once_share_one_database(blank: str) -> None:
    arguments = [sys.executable, "-c", OPEN_AND_WRITE, blank]
    started = [
        subprocess.Popen(
            [*arguments, name], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for name in ("one", "two", "three")
    ]
    ended = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], [errors for _, errors in ended]
    new_rows = sum(int(line) for output, _ in ended for line in output.split())
    with Store.open(blank) as store:
        assert store.answers.counts()["prompts"] == 20 + 3 * 20 == new_rows


@pytest.mark.sqlite
def test_a_writer_holds_the_lock_from_its_first_moment(store: Store, database: Path) -> None:
    other = sqlite3.connect(database, timeout=0, isolation_level=None)
    with writing(store.engine), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    with reading(store.engine):
        other.execute("BEGIN IMMEDIATE")  # a reader takes no write lock
        other.execute("ROLLBACK")
    other.close()


@pytest.mark.sqlite
def test_waiting_too_long_for_another_writer_says_so(store: Store, database: Path, prompt) -> None:
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with reading(store.engine) as connection:  # the pool hands out the same connection again
        connection.execute(text("PRAGMA busy_timeout = 0"))
    with pytest.raises(StateError, match=r"locked; another process"):
        store.answers.save_prompts([prompt(1)])
    other.close()


def test_a_savepoint_does_not_survive_the_outer_rollback(store: Store, prompt) -> None:
    kept = prompt(1)
    row = {"digest": kept.digest, "text": "t", "harmful_level": 0, "base_prompt": "b", "source": ""}
    with store.engine.connect() as connection:
        outer = connection.begin()
        with connection.begin_nested():
            connection.execute(metadata.tables["prompts"].insert(), row | {"hard_benign": False})
        outer.rollback()
    assert store.answers.counts()["prompts"] == 0


def test_threads_lose_no_write(store: Store, prompt) -> None:
    def work(first: int) -> None:
        for n in range(first, first + 10):
            store.answers.save_prompts([prompt(n)])

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 5, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.answers.counts()["prompts"] == 25


def test_errors_show_no_row(store: Store, prompt, answer, at) -> None:
    with pytest.raises(StateError, match="refused a row") as caught:
        store.answers.save_responses([answer(prompt(1), "a secret of a patient")], None, at(0))
    assert "secret" not in f"{caught.value}{caught.value.__cause__}"


def test_nan_in_json_is_refused(store: Store, at) -> None:
    with pytest.raises(DataError, match="JSON"):
        store.evidence.save_calibration("j", "l", {"kappa": float("nan")}, at(0))
    assert store.evidence.calibration("j") is None


def test_the_schema_is_portable_to_postgresql() -> None:
    statements: list[str] = []
    dialect = postgresql.dialect()
    engine = create_mock_engine(
        "sqlite://", lambda sql, *_, **__: statements.append(str(sql.compile(dialect=dialect)))
    )
    for table in metadata.sorted_tables:
        engine.execute(CreateTable(table))
    assert len(statements) == len(metadata.tables)
    made = str(CreateTable(verdicts).compile(dialect=dialect))
    assert "JSONB" in made
    assert "TIMESTAMP WITH TIME ZONE" in made
