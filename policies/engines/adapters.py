"""What an adapter is on disk: two files, one address."""

from __future__ import annotations

from pathlib import Path

from policies.digests import digest_of_folder
from policies.errors import EngineError

ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")


def adapter_digest(folder: Path) -> str:
    """SHA-256 over the adapter's weights and configuration. EngineError where a file is missing."""
    missing = [name for name in ADAPTER_FILES if not (folder / name).is_file()]
    if missing:
        raise EngineError(f"adapter folder {folder} lacks {', '.join(missing)}")
    return digest_of_folder(folder, ADAPTER_FILES)
