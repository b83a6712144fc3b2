"""Where objects meet, for the daemon and the light commands. No torch: `workshop` makes the heavy objects."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from daemon.paths import Paths
from daemon.settings import Settings, load_settings
from daemon.store.store import Store
from policies.engines.models import model_digest
from policies.errors import EngineError
from policies.records import Policy


def now() -> datetime:
    """The clock of a real process; tests pass their own."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Place:
    """One installation: its settings, its data directory and its open store."""

    settings: Settings
    config: Path | None
    paths: Paths
    store: Store
    now: Callable[[], datetime] = now

    def arguments(self) -> list[str]:
        """Options that make a child process work on the same installation."""
        config = ["--config", str(self.config)] if self.config else []
        return [*config, "--data-dir", str(self.paths.data_dir)]


@contextmanager
def open_place(config: Path | None, data_dir: Path | None) -> Iterator[Place]:
    """Settings, folders and database; the database is migrated and closed again."""
    settings = load_settings(config, data_dir=data_dir)
    paths = Paths.under(settings.data_dir)
    url = settings.database_url.get_secret_value() if settings.database_url else str(paths.database)
    with Store.open(url, adapters_dir=paths.adapters) as store:
        yield Place(settings, config, paths, store)


def base_policy(place: Place) -> tuple[Path, Policy]:
    """The base model's folder and policy. Resolving may download or convert, which a child process does.

    StateError where what is released is of another base model.
    """
    folder = resolve_in_child(place)
    policy = Policy(model_digest(folder))
    place.store.releases.record_initial(policy, place.now())
    return folder, policy


def resolve_in_child(place: Place) -> Path:
    result = subprocess.run(  # noqa: S603 - our own interpreter and module
        [
            sys.executable,
            "-m",
            "policies.engines.resolve",
            place.settings.model.name,
            str(place.paths.models),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_DISABLE_TELEMETRY": "1"},
    )
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ["no output"])[-1]
        raise EngineError(last.removeprefix("primum: "))
    return Path(result.stdout.strip().splitlines()[-1])
