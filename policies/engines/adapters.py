"""What an adapter is on disk: two files and a card, one address. No torch: the daemon asks, too."""

from __future__ import annotations

import json
from pathlib import Path

from policies.digests import digest_of_folder
from policies.errors import DataError, EngineError

ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")
CARD_FILE = "card.json"


def settle_config(folder: Path, *, base_digest: str) -> None:
    """Make the configuration that PEFT wrote the same for the same training.

    It names the base by a local path, and lists the trained modules in the order of a set, which changes from
    process to process; both would change the adapter's address.
    """
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = f"sha256:{base_digest}"
    if isinstance(config.get("target_modules"), list):
        config["target_modules"].sort()
    path.write_text(json.dumps(config, indent=1, sort_keys=True))


def adapter_digest(folder: Path) -> str:
    """SHA-256 over the adapter's weights and configuration; the card does not enter.

    EngineError where a file is missing.
    """
    missing = [name for name in ADAPTER_FILES if not (folder / name).is_file()]
    if missing:
        raise EngineError(f"adapter folder {folder} lacks {', '.join(missing)}")
    return digest_of_folder(folder, ADAPTER_FILES)


def check_adapter_folder(folder: Path) -> None:
    """Refuse anything but the weights and plain JSON files: a pickle would run code when it is loaded, and
    weights under another name would not enter the digest.

    Raises DataError naming the file.
    """
    for name in ADAPTER_FILES:
        if not (folder / name).is_file():
            raise DataError(f"{folder} is not an adapter: {name} is missing")
    for path in sorted(folder.iterdir()):
        known = path.name in ADAPTER_FILES or path.suffix == ".json"
        if path.is_symlink() or not path.is_file() or not known:
            raise DataError(
                f"{path} does not belong in an adapter: only {ADAPTER_FILES[0]} and plain .json files do"
            )
