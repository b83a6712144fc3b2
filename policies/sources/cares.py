"""CARES-18K (Chen et al. 2025, arXiv 2505.11413; `HFXM/CARES-18K` on the Hugging Face hub, MIT).

18,478 rows; published as Parquet, train and test, with the columns principle_index, generation_model,
harmful_level, method, base_prompt, prompt. Its own train and test parts are cut by row: rewrites of one base
prompt lie in both. So all rows are loaded by default and `policies.splits` cuts them again by base prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from policies.errors import ConfigurationError, DataError
from policies.records import Prompt
from policies.sources.rows import Row, prompts_from_rows
from policies.sources.tables import load_table

HUB_NAME = "HFXM/CARES-18K"
SPLITS = ("train", "test")

HubLoader = Callable[..., Iterable[Mapping[str, Any]]]


def load_cares(
    location: str | Path | None = None,
    *,
    split: str | None = None,
    revision: str | None = None,
    hub_loader: HubLoader | None = None,
) -> list[Prompt]:
    """CARES-18K from a Parquet file, from a folder of them, or (without a location) from the hub.

    `split` is "train", "test" or None for both. `revision` pins the hub's commit. `hub_loader` stands in for
    `datasets.load_dataset`. Raises DataError where nothing can be loaded or a row cannot be used.
    """
    if split is not None and split not in SPLITS:
        raise ConfigurationError(f"split of CARES must be one of {', '.join(SPLITS)}, or left out for both.")
    if location is not None:
        paths = parquet_files(Path(location).expanduser(), split)
        return [prompt for path in paths for prompt in load_table(path, source="cares")]
    load = hub_loader or _load_from_hub
    return [
        prompt
        for part in ((split,) if split else SPLITS)
        for prompt in _from_hub(load(HUB_NAME, split=part, revision=revision), part)
    ]


def parquet_files(location: Path, split: str | None = None) -> list[Path]:
    """The Parquet files of `location` (a file, a folder, or one with a subfolder data), sorted.

    DataError where there are none.
    """
    if location.is_file():
        return [location]
    pattern = f"{split}-*.parquet" if split else "*.parquet"
    paths = sorted(location.glob(pattern)) or sorted(location.glob(f"data/{pattern}"))
    if not paths:
        raise DataError(f"{location} holds no {pattern}: download the Parquet files of {HUB_NAME} into it.")
    return paths


def _from_hub(rows: Iterable[Mapping[str, Any]], part: str) -> list[Prompt]:
    numbered = (Row(number, row) for number, row in enumerate(rows, start=1))
    return prompts_from_rows(numbered, name=f"{HUB_NAME} ({part})", source="cares")


def _load_from_hub(name: str, *, split: str, revision: str | None) -> Iterable[Mapping[str, Any]]:
    try:
        import httpx
        from datasets import load_dataset  # imports pandas and more: seconds, and only this path needs it
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise DataError(
            f"{name} cannot be loaded: the package {error.name} is missing; install it."
        ) from error
    try:
        rows: Iterable[Mapping[str, Any]] = load_dataset(name, split=split, revision=revision)
    except (OSError, ValueError, DatasetsError, httpx.HTTPError) as error:
        raise DataError(
            f"{name} ({split}) could not be loaded from the hub ({type(error).__name__}): check the network "
            "and the revision, or download its Parquet files and name the source cares:FOLDER."
        ) from error
    return rows
