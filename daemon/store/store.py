"""The store: one engine, and a small class for each thing that is remembered."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Engine

from daemon.store.answers import Answers
from daemon.store.cycles import Cycles
from daemon.store.engine import migrate, open_database
from daemon.store.evidence import Evidence
from daemon.store.releases import Releases
from daemon.store.results import Results


class Store:
    """Everything that the daemon remembers. Each process opens its own; threads may share one."""

    def __init__(self, engine: Engine, adapters_dir: Path | None = None) -> None:
        self.engine = engine
        self.answers = Answers(engine)
        self.cycles = Cycles(engine)
        self.results = Results(engine, adapters_dir)
        self.releases = Releases(engine, adapters_dir)
        self.evidence = Evidence(engine)

    @classmethod
    def open(cls, url_or_path: str | Path, *, adapters_dir: Path | None = None) -> Self:
        """Opens the database and brings its schema up to date. Errors as for open_database and migrate.

        `adapters_dir`: where released and trained adapters lie now.
        """
        engine = open_database(url_or_path)
        try:
            migrate(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, adapters_dir)

    def close(self) -> None:
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
