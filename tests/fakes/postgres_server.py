"""A real PostgreSQL of a test run's own, on a Unix socket in a folder that goes with it.

    with PostgresServer() as server:
        url = server.database("mine")

PostgreSQL refuses to run as root: there it runs as the user `postgres`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
from psycopg import sql

OWNER = "primum"


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl, the newest where there are several; None where there is none."""
    folders = [Path(found).parent for found in (shutil.which("initdb"),) if found]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: -float(one.parent.name))
    return next((folder for folder in folders if (folder / "initdb").is_file()), None)


class PostgresServer:
    """Context manager. Nothing is synced to disk: it lives as long as its tests."""

    def __enter__(self) -> PostgresServer:
        found = binaries()
        if found is None:
            raise FileNotFoundError("initdb is not installed; apt install postgresql")
        self._binaries, self._user = found, "postgres" if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="primum-postgres-"))
        if self._user:
            shutil.chown(self._folder, self._user)
        self._run("initdb", "-A", "trust", "-U", OWNER, "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
        options = f"-k {self._folder} -c listen_addresses= -c fsync=off -c max_connections=50"
        self._run("pg_ctl", "-w", "-l", str(self._folder / "log"), "-o", options, "start")
        return self

    def __exit__(self, *_: object) -> None:
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(self._folder)

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://{OWNER}@/{name}?host={self._folder}"

    def database(self, name: str, *, template: str = "template1") -> str:
        """Make a database, a copy of another one; its URL."""
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        return self.url(name)

    def drop(self, name: str) -> None:
        """Whoever is still connected to it is thrown out."""
        self._execute("DROP DATABASE {} WITH (FORCE)", name)

    def _execute(self, statement: str, *names: str) -> None:
        where = {"host": str(self._folder), "user": OWNER, "dbname": "postgres"}
        with psycopg.connect(**where, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), "-D", str(self._folder / "data"), *arguments]
        # pg_ctl's child keeps its output open: a pipe would never end.
        with (self._folder.parent / f"{self._folder.name}.out").open("w+") as said:
            ended = subprocess.run(
                command, cwd="/", stdout=said, stderr=said, user=self._user, timeout=60, check=False
            )
            said.seek(0)
            Path(said.name).unlink()
            if ended.returncode != 0:
                raise RuntimeError(f"{program} failed: {said.read()[-2000:]}")
