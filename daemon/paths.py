"""Where things lie under the data directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Everything that Primum writes is under `data_dir`, which only its own user may read."""

    data_dir: Path

    @classmethod
    def under(cls, data_dir: Path) -> Paths:
        paths = cls(data_dir.expanduser().resolve())
        for folder in (paths.data_dir, paths.models, paths.adapters, paths.cycles, paths.run):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return paths

    @property
    def database(self) -> Path:
        return self.data_dir / "primum.sqlite3"

    @property
    def models(self) -> Path:
        return self.data_dir / "models"

    @property
    def adapters(self) -> Path:
        return self.data_dir / "adapters"

    @property
    def cycles(self) -> Path:
        return self.data_dir / "cycles"

    @property
    def run(self) -> Path:
        return self.data_dir / "run"

    def cycle(self, cycle_id: int) -> Path:
        folder = self.cycles / str(cycle_id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder
