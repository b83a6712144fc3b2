"""Content addresses: canonical JSON or file bytes, SHA-256, hexadecimal."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def digest_of(value: Any) -> str:
    """SHA-256 of `value` as canonical JSON (sorted keys, no spaces, UTF-8; NaN is refused)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in one-mebibyte pieces."""
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            hasher.update(piece)
    return hasher.hexdigest()


def digest_of_folder(folder: Path, patterns: tuple[str, ...] = ("*.safetensors", "*.json", "*.jinja")) -> str:
    """SHA-256 over names and contents of the folder's matching files, independent of listing order."""
    files = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    return digest_of([[path.name, digest_of_file(path)] for path in files])


def short(digest: str) -> str:
    """The first twelve characters: enough for people and for file names."""
    return digest[:12]


def seed_from(*parts: Any) -> int:
    """A seed in [0, 2**31) derived from `parts`, so that one recorded seed yields all others."""
    return int(digest_of(list(parts))[:8], 16) & 0x7FFFFFFF
