"""How many rows on harmful prompts there are for those on harmless ones, and how they are mixed.

Refusing is quickly learnt, and over-refusing with it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

Row = TypeVar("Row")


def in_proportion(
    harmful: Sequence[tuple[str | None, Row]],
    harmless: Sequence[tuple[str | None, Row]],
    *,
    limit: int | None,
    harmful_ratio: float,
    balance_methods: bool,
) -> tuple[list[Row], list[Row]]:
    """The first of each kind: (harmful, harmless), each row given with its prompt's method of asking.

    Together at most `limit`, and of harmful ones at most `harmful_ratio` times as many as of harmless ones;
    with `balance_methods` also among the rows of each method, before the limit cuts the harmless ones.
    """
    room = int(len(harmless) * harmful_ratio)
    if limit is not None:
        room = min(room, int(limit * harmful_ratio / (1 + harmful_ratio)))
    if balance_methods:
        of_method = Counter(method for method, _ in harmless)
        harmful = rationed(harmful, {name: int(count * harmful_ratio) for name, count in of_method.items()})
    harmful = harmful[:room]
    if limit is not None:
        harmless = harmless[: limit - len(harmful)]
    return [row for _, row in harmful], [row for _, row in harmless]


def rationed(
    rows: Iterable[tuple[str | None, Row]], rations: Mapping[str | None, int]
) -> list[tuple[str | None, Row]]:
    """The first of each method's rows, as many as its ration; none of a method without one."""
    kept, taken = [], Counter[str | None]()
    for method, row in rows:
        if taken[method] < rations.get(method, 0):
            taken[method] += 1
            kept.append((method, row))
    return kept


def evenly_mixed(kinds: Sequence[int], rng: random.Random, *, no_turns: bool = False) -> list[int]:
    """Indices of `kinds`, by chance, but every stretch has as much of each kind as the whole has.

    Kinds of equal size take turns; with `no_turns` who of each round comes first is chance, too.
    """
    placed: list[tuple[float, float, int]] = []
    for kind in sorted(set(kinds)):
        rows = [row for row, found in enumerate(kinds) if found == kind]
        rng.shuffle(rows)
        for place, row in enumerate(rows):
            placed.append(((place + 0.5) / len(rows), rng.random() if no_turns else 0.0, row))
    return [row for *_, row in sorted(placed)]
