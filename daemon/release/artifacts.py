"""Where released adapters live: one immutable, content-named folder each, never changed in place.

A server may read an adapter's folder again at any time, so a folder that changes changes the answers, and a
folder that goes kills the engine. Hence: copy, fsync, make read-only, rename into place; verify at each load.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from policies.digests import short
from policies.engines.adapters import ADAPTER_FILES, CARD_FILE, adapter_digest, check_adapter_folder
from policies.errors import DataError
from policies.records import Policy

_HEADER_LIMIT = 100 << 20  # the safetensors format's own bound on its header, in bytes


def adapter_folder(adapters_dir: Path, digest: str) -> Path:
    """Where the adapter with this digest is kept."""
    return adapters_dir / str(Policy(base_digest="", adapter_digest=digest).adapter_name)


def store_adapter(source_dir: Path, adapters_dir: Path) -> tuple[str, Path]:
    """Copy an adapter into `adapters_dir`; (digest, its folder). Asked twice, it finds the first copy.

    Only weights, adapter configuration and card are copied. Raises DataError naming the file where something
    is missing, a link, or not what its name says.
    """
    adapters_dir.mkdir(parents=True, exist_ok=True)
    for left in adapters_dir.glob(".incoming-*"):  # by a worker that was killed; there is one worker
        _discard(left)
    staging = Path(tempfile.mkdtemp(dir=adapters_dir, prefix=".incoming-"))
    try:
        for name in (*ADAPTER_FILES, CARD_FILE):
            _copy(source_dir / name, staging / name, optional=name == CARD_FILE)
        _check_content(staging, shown_as=source_dir)
        digest = adapter_digest(staging)  # of the copy: the source may still change
        target = adapter_folder(adapters_dir, digest)
        if not target.exists():
            _put_in_place(staging, target)
    finally:
        _discard(staging)
    verify_adapter(target, digest)
    return digest, target


def verify_adapter(path: Path, digest: str) -> None:
    """Raise DataError unless `path` holds exactly the adapter `digest` and nothing that could run code."""
    if path.is_symlink() or not path.is_dir():
        raise DataError(f"adapter folder {path} is missing; restore it from a backup or train it again")
    check_adapter_folder(path)
    _check_content(path, shown_as=path)
    found = adapter_digest(path)
    if found != digest:
        raise DataError(
            f"adapter folder {path} was changed: its digest is {short(found)}, recorded was {short(digest)}; "
            "restore it from a backup"
        )


def _copy(source: Path, target: Path, *, optional: bool) -> None:
    try:
        # O_NOFOLLOW: a link could bring any readable file into the folder that servers may load from.
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        if optional:
            return
        raise DataError(f"{source.parent} is not an adapter: {source.name} is missing") from error
    except OSError as error:
        raise DataError(f"{source} cannot be copied: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as reader, target.open("xb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())
    target.chmod(0o444)


def _put_in_place(staging: Path, target: Path) -> None:
    _sync_folder(staging)
    staging.chmod(0o555)
    try:
        staging.rename(target)
    except OSError as error:
        if not target.is_dir():  # else another process stored the same adapter in the meantime
            raise DataError(f"{target} cannot be written: {error.strerror}") from error
    _sync_folder(target.parent)


def _discard(staging: Path) -> None:
    if staging.exists():
        staging.chmod(0o755)
        shutil.rmtree(staging)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_content(folder: Path, *, shown_as: Path) -> None:
    """A name is no proof: the weights must have a safetensors header, the configuration be a JSON object."""
    weights, config = (folder / name for name in ADAPTER_FILES)
    with weights.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = stream.read(size) if 2 <= size <= _HEADER_LIMIT else b""
    for name, text in ((weights.name, header), (config.name, config.read_bytes())):
        try:
            usable = isinstance(json.loads(text), dict)
        except ValueError:
            usable = False
        if not usable:
            raise DataError(f"{shown_as / name} is not what its name says; train the adapter again")
