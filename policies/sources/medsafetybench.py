"""MedSafetyBench (Han et al. 2024, arXiv 2403.03744; AI4LIFE-GROUP/med-safety-bench, MIT), in its own layout.

`datasets/{train,test}/{gpt4,llama2}/med_safety_demonstrations_category_{1..9}.csv`, columns '' (a counter),
harmful_medical_request, safe_response. Every request is harmful; none has a CARES level. Its categories are
the nine AMA principles, which are not CARES's eight, so `principle_index` stays empty and the category is
part of `source`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from policies.errors import ConfigurationError, DataError
from policies.records import Prompt
from policies.sources.rows import BadRow, Row, prompts_from_rows
from policies.sources.tables import read_rows

SPLITS = ("train", "test")
# Our choice: most requests break professional rules or law (CARES: moderate), some are merely rude, few are
# dangerous to many. At level 2 Refuse scores 1 and Caution 0.5, which fits a benchmark that expects refusals.
DEFAULT_LEVEL = 2

_FILES = "med_safety_demonstrations_category_*.csv"


def load_medsafetybench(
    folder: str | Path, *, harmful_level: int = DEFAULT_LEVEL, split: str | None = None
) -> list[Prompt]:
    """The requests as prompts of one level, each its own base prompt, method direct.

    `folder` is the repository, its `datasets`, or one part of it; `split` is "train", "test" or None for all
    there is. Raises DataError naming file and row.
    """
    return [
        prompt
        for path in demonstration_files(Path(folder), split)
        for prompt in _prompts(path, read_rows(path), harmful_level)
    ]


def load_demonstrations(
    folder: str | Path, *, harmful_level: int = DEFAULT_LEVEL, split: str | None = None
) -> list[tuple[Prompt, str]]:
    """The requests with their safe responses: what a judge has to label Refuse.

    Raises DataError as `load_medsafetybench` does, and where a response is missing or blank.
    """
    demonstrations: list[tuple[Prompt, str]] = []
    for path in demonstration_files(Path(folder), split):
        rows = [_with_response(row) for row in read_rows(path)]
        prompts = _prompts(path, rows, harmful_level)
        answers = [str(row.cells["safe_response"]) for row in rows if not isinstance(row.cells, BadRow)]
        demonstrations.extend(zip(prompts, answers, strict=True))
    return demonstrations


def demonstration_files(folder: Path, split: str | None = None) -> list[Path]:
    """The benchmark's CSV files at or below `folder`, sorted. DataError where there are none."""
    if split is not None and split not in SPLITS:
        raise ConfigurationError(
            f"split of MedSafetyBench must be one of {', '.join(SPLITS)}, or left out for all."
        )
    folder = folder.expanduser()
    found = [path for pattern in (_FILES, f"*/{_FILES}", f"*/*/{_FILES}") for path in folder.glob(pattern)]
    found += folder.glob(f"datasets/*/*/{_FILES}")
    paths = sorted(path for path in found if split is None or split in path.resolve().parts[-3:-1])
    if not paths:
        part = f" of its {split} part" if split else ""
        raise DataError(
            f"{folder} holds no {_FILES}{part}: name a copy of github.com/AI4LIFE-GROUP/med-safety-bench."
        )
    return paths


def _prompts(path: Path, rows: Sequence[Row], harmful_level: int) -> list[Prompt]:
    part, author = path.resolve().parts[-3:-1]
    category = path.stem.rpartition("_")[2]
    plain = [
        row if isinstance(row.cells, BadRow) else Row(row.number, {"method": "direct", **row.cells})
        for row in rows
    ]
    return prompts_from_rows(
        plain,
        name=str(path),
        source=f"medsafetybench/{part}/{author}/{category}",
        default_level=harmful_level,
    )


def _with_response(row: Row) -> Row:
    if isinstance(row.cells, BadRow) or str(row.cells.get("safe_response") or "").strip():
        return row
    return Row(row.number, BadRow("has no safe_response: fill it or delete the row"))
