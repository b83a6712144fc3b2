"""Options that all commands share, and how figures are shown in a terminal."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from policies.errors import DataError

F = TypeVar("F", bound=Callable[..., Any])


def placed(function: F) -> F:
    """Adds --config, --data-dir and --debug; the command gets `config` and `data_dir`."""

    @click.option(
        "--config", type=click.Path(path_type=Path), help="Configuration file (configs/embedded.yaml)."
    )
    @click.option(
        "--data-dir", type=click.Path(path_type=Path), help="Where everything is kept (wins over the file)."
    )
    @click.option("--debug", is_flag=True, help="Add tracebacks and more logging.")
    @wraps(function)
    def command(*args: Any, debug: bool, **kwargs: Any) -> Any:
        del debug  # read from the command line by main, before anything can fail
        return function(*args, **kwargs)

    return command  # type: ignore[return-value]


def can_be_written(path: Path) -> None:
    """Asked before long work, whose result is to go there. DataError where it cannot; nothing is changed."""
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        raise DataError(f"{path} cannot be written: name a file in a folder that exists and is yours")


def whoami() -> str:
    """The person who types, as the machine knows them; recorded with each review."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def write_private(path: Path, text: str) -> None:
    """Writes `text` so that only this user may read it: prompts and answers may be patient data."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as out:
            out.write(text)
        path.chmod(0o600)  # one that was there before keeps its old mode otherwise
    except OSError as problem:
        raise DataError(f"{path}: cannot be written ({problem.strerror}); name another file") from problem


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def interval(found: Any) -> str:
    """`0.85 [0.80, 0.90]`, or a dash."""
    if found is None:
        return "–"
    get = found.get if isinstance(found, dict) else lambda name: getattr(found, name)
    return f"{get('estimate'):.3f} [{get('low'):.3f}, {get('high'):.3f}]"


def options_text(config: Path | None, data_dir: Path | None) -> str:
    """The options as they would be typed again."""
    parts = [f"--config {config}"] if config else []
    if data_dir:
        parts.append(f"--data-dir {data_dir}")
    return " ".join(parts)
