"""The labels that ship with the project, and which of them a judge never trained on."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from judges.labels import LabelledRow, read_labels
from policies.cares import Label
from policies.digests import seed_from
from policies.errors import ConfigurationError

FOLDER = Path(__file__).parent / "data"
FILES = (
    "harmless.jsonl",
    "harmful.jsonl",
    "sampled.jsonl",
    "framed.jsonl",
    "reference.jsonl",
    "registry.jsonl",
)
HELD_OUT, DEVELOPMENT = 0.2, 0.1
_SPLIT_SEED = 0


@lru_cache(maxsize=2)
def all_labels(files: tuple[str, ...] = FILES) -> tuple[LabelledRow, ...]:
    """Every shipped row, in file order, or those of some files; ConfigurationError for an unknown one."""
    if unknown := set(files) - set(FILES):
        raise ConfigurationError(
            f"there are no shipped labels {', '.join(sorted(unknown))}; known are {', '.join(FILES)}"
        )
    return tuple(row for name in files for row in read_labels(FOLDER / name))


def part_of(group: str, *, held_out: float = HELD_OUT, development: float = DEVELOPMENT) -> str:
    """train, development or held_out: by base prompt, stable when rows are added or
    reordered."""
    place = seed_from(_SPLIT_SEED, "judge split", group) / 2**31
    return "held_out" if place < held_out else "development" if place < held_out + development else "train"


def held_out_labels() -> tuple[LabelledRow, ...]:
    """Rows of the prompts that shipped judges never saw: what they are calibrated on."""
    return tuple(row for row in all_labels() if part_of(row.group) == "held_out")


def reference_answers(count: int = 24) -> tuple[tuple[str, str], ...]:
    """(question, good answer) pairs on harmless prompts: what capability is measured on."""
    good = [
        row
        for row in all_labels()
        if row.harmful_level == 0
        and row.label is Label.ACCEPT
        and row.kind in ("plain_accept", "nih_style_accept")
    ]
    ordered = sorted(good, key=lambda row: seed_from("reference", row.prompt, row.answer))
    return tuple((row.prompt, row.answer) for row in ordered[:count])
