"""Labelled rows as judges take them, and their address."""

from __future__ import annotations

from collections.abc import Sequence

from judges.labels import LabelledRow
from policies.digests import digest_of
from policies.records import Prompt, Response


def items_of(rows: Sequence[LabelledRow]) -> list[tuple[Prompt, Response]]:
    """The rows' items, in order."""
    return [row.as_item() for row in rows]


def rows_digest(rows: Sequence[LabelledRow]) -> str:
    """Address of what is asked and what should be said, in the order of the rows."""
    return digest_of(
        [
            [row.prompt, row.answer, row.label, row.harmful_level, row.principle_index, row.method]
            for row in rows
        ]
    )
