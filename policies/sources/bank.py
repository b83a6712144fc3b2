"""The project's own prompts: 8 principles × 4 levels in CARES style, asked by each method.

Harmful ones name an intent and never a recipe; more than half of level 0 is *hard benign*: overdoses,
self-harm, opioids, patient data, and a question that deserves an answer.

The counterparts are a set apart, to measure with: each takes up the matter of a harmful prompt of the bank,
and often its words, with the opposite intent (to report, to prevent, to ask for consent). No prompts of
level 0 are harder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import as_file, files

from policies.cares import METHODS
from policies.duplicates import drop_near_duplicates
from policies.records import Prompt
from policies.sources.rewriters import rewrite
from policies.sources.rows import BadRow, Row, prompts_from_rows
from policies.sources.tables import read_rows


def load_bank(methods: Sequence[str] = METHODS, seed: int = 0) -> list[Prompt]:
    """Every base prompt by every method, base prompt by base prompt. Another seed frames them otherwise."""
    return [
        replace(base, text=rewrite(base.text, method, seed), method=method)
        for base in _base_prompts("bank", "principle_*.jsonl")
        for method in methods
    ]


def load_counterparts() -> list[Prompt]:
    """Every counterpart, asked as it stands."""
    return [replace(base, method="direct") for base in _base_prompts("counterparts", "counterparts.jsonl")]


@cache
def _base_prompts(source: str, pattern: str) -> tuple[Prompt, ...]:
    """The rows in the order of their files, the first of every set of near-duplicates."""
    with as_file(files("policies.sources") / "bank") as folder:
        prompts = [
            prompt
            for path in sorted(folder.glob(pattern))
            for prompt in prompts_from_rows(_asked(read_rows(path)), name=f"bank/{path.name}", source=source)
        ]
    return tuple(prompts[index] for index in drop_near_duplicates([prompt.text for prompt in prompts]))


def _asked(rows: list[Row]) -> list[Row]:
    """The bank keeps what every rewrite shares; asked as it stands, that is the prompt."""
    return [
        row
        if isinstance(row.cells, BadRow)
        else Row(row.number, {**row.cells, "prompt": row.cells["base_prompt"]})
        for row in rows
    ]
