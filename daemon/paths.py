"""Where things lie under the data directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from policies.errors import ConfigurationError


@dataclass(frozen=True)
class Paths:
    """Everything that Primum writes is under `data_dir`, which only its own user may read."""

    data_dir: Path

    @classmethod
    def under(cls, data_dir: Path) -> Paths:
        """The folders, made where they are missing. ConfigurationError where they cannot be made."""
        paths = cls(data_dir.expanduser().resolve())
        try:
            for folder in (paths.data_dir, paths.models, paths.adapters, paths.cycles, paths.run):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigurationError(
                f"data_dir {paths.data_dir} cannot be made ({error.strerror}: {error.filename}); make it a "
                "folder that you may write to, or set data_dir or --data-dir to one"
            ) from error
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
