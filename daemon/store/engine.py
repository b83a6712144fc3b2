"""Opens the database so that several processes may write it at once, and brings its schema up to date."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

from daemon.store.columns import strict_json
from policies.errors import ConfigurationError, PrimumError, StateError

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 30
_READING = "primum_reading"
_LOCK = 0x5072696D  # "Prim": PostgreSQL's advisory lock for what SQLite serialises anyway


def open_database(url_or_path: str | Path) -> Engine:
    """An engine for a SQLite file (made if missing, private to its owner) or for a database URL.

    Raises ConfigurationError for a URL that cannot be used and StateError for a file that cannot be opened.
    """
    url = _url(url_or_path)
    if url.get_backend_name() == "sqlite":
        _make_private_file(Path(str(url.database)))
    try:
        # hide_parameters: prompts and answers never reach an error message.
        engine = create_engine(url, hide_parameters=True, json_serializer=strict_json, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        shown = url.render_as_string(hide_password=True)
        mend = "; pip install 'primum[postgres]'" if isinstance(error, ImportError) else ""
        raise ConfigurationError(f"database {shown} cannot be used: {error}{mend}") from error
    event.listen(engine, "handle_error", _translate)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        _choose_journal(engine)
    return engine


def journal_mode(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> str:
    """WAL only where its reset bug, which can corrupt the file, is mended; the classic journal elsewhere."""
    mended = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    return "wal" if mended else "delete"


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads: in SQLite it takes no write lock."""
    with engine.connect().execution_options(**{_READING: True}) as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes. In SQLite it is the only one from its first moment (BEGIN IMMEDIATE)."""
    with engine.begin() as connection:
        yield connection


@contextmanager
def deciding(engine: Engine) -> Iterator[Connection]:
    """A transaction that reads and then writes by what it read, one at a time in PostgreSQL, too."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        yield connection


def migrate(engine: Engine, revision: str = "head") -> None:
    """Upgrades to `revision`, once, however many processes ask at the same time.

    Raises StateError where the database was written by a newer Primum.
    """
    config = alembic_config()
    with deciding(engine) as connection:
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        unknown = set(MigrationContext.configure(connection).get_current_heads()) - known
        if unknown:
            raise StateError(
                f"the database {engine.url.render_as_string(hide_password=True)} is at revision "
                f"{', '.join(sorted(unknown))}, which this Primum does not know: install the newer one "
                "that wrote it, or choose another data directory"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def alembic_config() -> Config:
    """Alembic's settings without a file: where the migrations lie."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _url(url_or_path: str | Path) -> URL:
    if isinstance(url_or_path, Path) or "://" not in url_or_path:
        return URL.create("sqlite", database=str(Path(url_or_path).expanduser().absolute()))
    try:
        url = make_url(url_or_path)
        backend = url.get_backend_name()
    except ArgumentError as error:
        raise ConfigurationError("the database URL cannot be read; write sqlite:///FILE or a path") from error
    if backend not in ("sqlite", "postgresql"):
        raise ConfigurationError(
            f"database {backend} is not supported; use a file's path or postgresql+psycopg://…"
        )
    if backend == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigurationError("a database in memory cannot be shared with the worker; give a file's path")
    # Which driver a bare postgresql:// means changed with SQLAlchemy 2.1.
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _make_private_file(path: Path) -> None:
    """Prompts and answers are patient data: the folder is 0700 and the file 0600 from the first byte on."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StateError(
            f"the database {path} cannot be opened: {error.strerror}; choose a writable data directory"
        ) from error


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # None: the driver would otherwise begin by itself, late and not IMMEDIATE (see _begin_sqlite).
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at once: upgrading a read lock fails with SQLITE_BUSY without waiting.
    reads = connection.get_execution_options().get(_READING, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _choose_journal(engine: Engine) -> None:
    """The mode lives in the file. It is changed only where it differs: a change needs the file for itself."""
    wanted = journal_mode()
    try:
        with closing(engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("PRAGMA journal_mode")
            if cursor.fetchall() != [(wanted,)]:
                cursor.execute(f"PRAGMA journal_mode = {wanted}")
    except sqlite3.Error as error:
        engine.dispose()
        raise StateError(_sentence(engine.url, error)) from error


def _translate(context: ExceptionContext) -> None:
    """Every database failure leaves this room as one readable PrimumError without a row's contents."""
    cause = context.original_exception
    if isinstance(cause, PrimumError):
        raise cause
    if context.is_pre_ping:
        return  # a stale connection of the pool, which is about to be replaced
    if isinstance(context.sqlalchemy_exception, DBAPIError):
        url = context.engine.url if context.engine is not None else None
        if isinstance(context.sqlalchemy_exception, IntegrityError):
            # Only the first line: PostgreSQL's DETAIL repeats values.
            raise StateError(f"the database refused a row: {str(cause).splitlines()[0]}") from cause
        raise StateError(_sentence(url, cause)) from cause


def _sentence(url: URL | None, cause: BaseException) -> str:
    shown = "" if url is None else f" {url.render_as_string(hide_password=True)}"
    said = (str(cause).splitlines() or [type(cause).__name__])[0]
    mend = {
        "locked": f"another process has written for over {BUSY_SECONDS} s; end it and try again",
        "full": "free some space and try again",
        "readonly": "make file and folder writable",
        "not a database": "move the file away or choose another data directory",
    }
    advice = next((sentence for word, sentence in mend.items() if word in said), "see runbooks")
    return f"the database{shown} failed: {said}; {advice}"
