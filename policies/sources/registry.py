"""Prompts by the name of their source, as settings and the command line give it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from policies.errors import ConfigurationError, DataError, NotEnoughData
from policies.records import Prompt
from policies.sources.bank import load_bank, load_counterparts
from policies.sources.cares import load_cares
from policies.sources.medsafetybench import DEFAULT_LEVEL, demonstration_files, load_medsafetybench
from policies.sources.rows import check_level
from policies.sources.tables import is_table, load_table
from policies.splits import sample

KNOWN = (
    "bank, counterparts, cares, cares:FOLDER, medsafetybench:FOLDER, or the path of a .jsonl, .csv or "
    ".parquet file or of a folder with one of these layouts"
)


def load_prompts(
    source: str, *, level: int | None = None, limit: int | None = None, seed: int = 0
) -> list[Prompt]:
    """The prompts of `source`: one of `KNOWN`.

    `level` keeps the prompts of that level, and is the level of rows that come without one. `limit` takes a
    seeded random subset with the source's own mix of levels, principles and methods, and with as many
    different base prompts as possible. Raises ConfigurationError for an unknown source or a bad setting,
    DataError for a bad file or row, NotEnoughData where nothing is left.
    """
    if level is not None:
        check_level(level)
    if limit is not None and limit < 1:
        raise ConfigurationError("limit must be at least 1.")
    prompts = _load(source, level, seed)
    if level is not None:
        prompts = [prompt for prompt in prompts if prompt.harmful_level == level]
        if not prompts:
            raise NotEnoughData(f"{source} has no prompt of level {level}: choose another level or source.")
    return prompts if limit is None else sample(prompts, limit, seed=seed)


def _load(source: str, level: int | None, seed: int) -> list[Prompt]:
    if source == "bank":
        return load_bank(seed=seed)
    if source == "counterparts":
        return load_counterparts()
    if source == "cares":
        return load_cares()
    kind, colon, place = source.partition(":")
    if colon and place and kind in _FOLDERS:
        return _FOLDERS[kind](_existing(place, source), level)
    return _from_path(_existing(source, source), level)


def _existing(place: str, source: str) -> Path:
    path = Path(place).expanduser()
    if not place or not path.exists():
        raise ConfigurationError(f"There is no prompt source {source!r}: use {KNOWN}.")
    return path


def _from_path(path: Path, level: int | None) -> list[Prompt]:
    if path.is_file():
        return load_table(path, default_level=level)
    if _holds_medsafetybench(path):
        return _medsafetybench(path, level)
    if any(path.glob("*.parquet")) or any(path.glob("data/*.parquet")):
        return load_cares(path)
    tables = sorted(child for child in path.iterdir() if is_table(child))
    if len(tables) == 1:
        return load_table(tables[0], default_level=level)
    found = f"holds {len(tables)} tables: name one of them" if tables else "has no known layout"
    raise ConfigurationError(f"The folder {path} {found}. A prompt source is {KNOWN}.")


def _holds_medsafetybench(folder: Path) -> bool:
    try:
        return bool(demonstration_files(folder))
    except DataError:
        return False


def _medsafetybench(folder: Path, level: int | None) -> list[Prompt]:
    return load_medsafetybench(folder, harmful_level=DEFAULT_LEVEL if level is None else level)


def _cares(folder: Path, _level: int | None) -> list[Prompt]:
    return load_cares(folder)


_FOLDERS: Mapping[str, Callable[[Path, int | None], list[Prompt]]] = {
    "cares": _cares,
    "medsafetybench": _medsafetybench,
}
