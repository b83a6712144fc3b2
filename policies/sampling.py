"""A stratified sample of prompts: stated shares of levels and methods, even over principles, seeded.

Shares are targets. A stratum that runs short gives its places to the others, so the caller counts what came.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from policies.cares import LEVELS, METHODS
from policies.digests import seed_from
from policies.errors import ConfigurationError
from policies.records import Prompt

STRATA = ("level", "hard_benign", "principle", "method")

_Key = Callable[[Prompt], Any]
_Weights = Mapping[Any, float]


def sample(
    prompts: Iterable[Prompt],
    n: int,
    *,
    seed: int,
    stratify: Collection[str] = STRATA,
    level_shares: Mapping[int, float] | None = None,
    hard_benign_share: float | None = None,
    method_weights: Mapping[str, float] | None = None,
) -> list[Prompt]:
    """At most `n` of `prompts`, in a seeded order; other base prompts before a second rewrite of one.

    `stratify` names what is balanced. Levels come by `level_shares` (relative; a level without one is not
    drawn) or in their own mix; of level 0, `hard_benign_share` in [0, 1] is hard benign, or its own mix;
    principles and sources come in their own mix; methods by `method_weights` (one without a weight is not
    drawn; a prompt that has no method may always be) or evenly. The same prompts in another order give the
    same sample. Raises ConfigurationError for a share that is negative, not finite or of an unknown name.
    """
    if n < 0:
        raise ConfigurationError("the number of prompts to sample must not be negative.")
    if not set(stratify) <= set(STRATA):
        raise ConfigurationError(f"stratify can name only {', '.join(STRATA)}.")
    check_weights("level_shares", level_shares, LEVELS)
    check_weights("method_weights", method_weights, METHODS)
    pool = {
        prompt.digest: prompt
        for prompt in prompts
        if method_weights is None or prompt.method is None or method_weights.get(prompt.method, 0) > 0
    }
    dimensions: list[tuple[_Key, _Weights | None]] = []
    if "level" in stratify or level_shares is not None or hard_benign_share is not None:
        dimensions.append((lambda prompt: prompt.harmful_level, level_shares))
    if "hard_benign" in stratify or hard_benign_share is not None:
        # Harmful prompts are a kind of their own, untouched by the share.
        dimensions.append((_kind, _kind_weights(hard_benign_share)))
    if "principle" in stratify:
        dimensions.append((lambda prompt: (str(prompt.principle_index), prompt.source), None))
    ordered = [pool[digest] for digest in sorted(pool, key=lambda digest: seed_from(seed, "sample", digest))]
    tally = _Tally(method_weights, "method" in stratify)
    chosen = [
        prompt for rows, quota in _cells(ordered, n, dimensions) for prompt in _take(rows, quota, tally)
    ]
    return sorted(chosen, key=lambda prompt: seed_from(seed, "order", prompt.digest))


def largest_remainder(
    total: int,
    weights: Sequence[float],
    *,
    capacities: Sequence[int] | None = None,
    owed: Sequence[float] | None = None,
) -> list[int]:
    """`total` places in proportion to `weights`, whole numbers, by the largest remainders.

    `owed` is added to the remainders when the last places are given out, not to the proportions; ties go to
    the earlier. What exceeds a capacity goes to the others in proportion; a weight of 0 gets nothing. The sum
    is `total`, or less where the capacities end.
    """
    limits = [total] * len(weights) if capacities is None else list(capacities)
    places = [0] * len(weights)
    open_ = [i for i, weight in enumerate(weights) if weight > 0 and limits[i] > 0]
    left = min(total, sum(limits[i] for i in open_))
    while open_:
        whole = sum(weights[i] for i in open_)
        exact = {i: left * weights[i] / whole for i in open_}
        full = [i for i in open_ if exact[i] >= limits[i]]
        if not full:
            break
        for i in full:
            places[i] = limits[i]
            left -= limits[i]
        open_ = [i for i in open_ if i not in full]
    for i in open_:
        places[i] = math.floor(exact[i] + 1e-9)
    claims = sorted(open_, key=lambda i: places[i] - exact[i] - (owed[i] if owed else 0.0))
    for i in claims[: left - sum(places[i] for i in open_)]:
        places[i] += 1
    return places


class _Tally:
    """How many of each method were taken, and which one is furthest behind its weight."""

    def __init__(self, weights: Mapping[str, float] | None, balanced: bool) -> None:
        self._weights = weights
        self._balanced = balanced
        self._taken: dict[str | None, int] = defaultdict(int)

    def name(self, prompt: Prompt) -> str | None:
        return prompt.method if self._balanced or self._weights is not None else None

    def by_need(self, methods: Iterable[str | None]) -> list[str | None]:
        return sorted(
            methods, key=lambda method: ((self._taken[method] + 0.5) / self._weight(method), method or "")
        )

    def add(self, method: str | None) -> None:
        self._taken[method] += 1

    def _weight(self, method: str | None) -> float:
        return 1.0 if self._weights is None or method is None else self._weights[method]


def _cells(
    rows: list[Prompt], n: int, dimensions: Sequence[tuple[_Key, _Weights | None]]
) -> list[tuple[list[Prompt], int]]:
    """The finest strata with their numbers of places: each dimension shares out what the one before gave."""
    if not dimensions:
        return [(rows, n)]
    key, weights = dimensions[0]
    strata: dict[Any, list[Prompt]] = defaultdict(list)
    for row in rows:
        strata[key(row)].append(row)
    # Rows come in seeded order, so equal claims to a last place are settled by the seed.
    quotas = largest_remainder(
        n,
        [_bases(stratum) if weights is None else weights.get(name, 0.0) for name, stratum in strata.items()],
        capacities=[len(stratum) for stratum in strata.values()],
    )
    return [
        cell
        for stratum, quota in zip(strata.values(), quotas, strict=True)
        if quota
        for cell in _cells(stratum, quota, dimensions[1:])
    ]


def _take(rows: Iterable[Prompt], quota: int, tally: _Tally) -> Iterable[Prompt]:
    """`quota` of `rows`: in every round each base prompt gives at most one, of the method most behind."""
    waiting: dict[str | None, deque[Prompt]] = defaultdict(deque)
    for row in rows:
        waiting[tally.name(row)].append(row)
    used: set[str] = set()
    later: list[Prompt] = []
    while quota:
        for method in tally.by_need(method for method, queue in waiting.items() if queue):
            queue = waiting[method]
            while queue and queue[0].base_prompt in used:
                later.append(queue.popleft())
            if queue:
                prompt = queue.popleft()
                used.add(prompt.base_prompt)
                tally.add(method)
                quota -= 1
                yield prompt
                break
        else:
            if not later:
                return
            for row in later:
                waiting[tally.name(row)].append(row)
            used, later = set(), []


def _kind(prompt: Prompt) -> str:
    if prompt.harmful_level > 0:
        return "harmful"
    return "hard" if prompt.hard_benign else "plain"


def _kind_weights(hard_benign_share: float | None) -> _Weights | None:
    if hard_benign_share is None:
        return None
    if not 0 <= hard_benign_share <= 1:
        raise ConfigurationError("hard_benign_share must lie between 0 and 1.")
    return {"harmful": 1.0, "hard": hard_benign_share, "plain": 1.0 - hard_benign_share}


def _bases(rows: Iterable[Prompt]) -> int:
    return len({row.base_prompt for row in rows})


def check_weights(name: str, weights: _Weights | None, known: Collection[Any]) -> None:
    """ConfigurationError where `weights`, called `name`, name what is not `known`, or weigh nothing."""
    if weights is None:
        return
    if not set(weights) <= set(known):
        raise ConfigurationError(f"{name} can name only {', '.join(map(str, known))}.")
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights.values()) or not any(
        weights.values()
    ):
        raise ConfigurationError(f"{name} must be numbers of 0 or more, one of them above 0.")
