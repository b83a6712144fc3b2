"""Which candidates cannot win any more? Looked at between batches of prompts, so that losers stop early.

A candidate is stopped where its SS is surely below another's that is still in the race, or surely not above
the incumbent's. "Surely" is an empirical-Bernstein bound (Maurer and Pontil 2009) over whole clusters, its
error divided over looks and comparisons; stopping can only cost a winner, never promote one, and stopped
candidates stay in the multiplicity correction (Evidence.raced_out).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from policies.errors import ConfigurationError
from policies.records import Judged
from policies.validation.tables import Pair, align

INCUMBENT = "incumbent"


@dataclass(frozen=True)
class Stopped:
    """`behind`: the key of the one that it cannot catch up with."""

    key: str
    behind: str
    bound: float
    sentence: str


def race(
    incumbent: Sequence[Judged],
    candidates: Mapping[str, Sequence[Judged]],
    *,
    looks: int,
    error: float = 0.05,
    least: int = 30,
) -> list[Stopped]:
    """Candidates (by key) to stop, given verdicts so far.

    `looks`: how often the race is looked at in all; `error`: the chance that the true best is ever stopped;
    below `least` clusters nobody is.
    """
    if looks < 1 or not 0 < error < 1:
        raise ConfigurationError("race: looks has to be at least 1, and error between 0 and 1")
    rivals: dict[str, Sequence[Judged]] = {INCUMBENT: incumbent, **candidates}
    share = error / (looks * max(1, len(candidates)) * len(candidates or "1"))
    stopped: list[Stopped] = []
    for key in sorted(candidates):
        ends = [
            (bound, rival)
            for rival in sorted(rivals)
            if rival != key
            and (bound := upper_bound(align(rivals[rival], candidates[key]), share, least)) < 0
        ]
        if ends:
            bound, rival = min(ends)
            told = f"its SS is at least {-bound:.3f} below that of {rival}"
            stopped.append(Stopped(key, rival, bound, told))
    return stopped


def upper_bound(pair: Pair, error: float, least: int) -> float:
    """Upper bound of mean(after − before) over cluster means; +inf with fewer than `least` clusters."""
    before, after = pair.scores
    if not pair.rows:
        return math.inf
    _, codes = np.unique(pair.slices.clusters, return_inverse=True)
    means = np.bincount(codes, weights=after - before) / np.bincount(codes)
    count = len(means)
    if count < max(2, least):
        return math.inf
    log = math.log(2 / error)
    spread = math.sqrt(2 * float(means.var(ddof=1)) * log / count)
    return float(means.mean()) + spread + 2 * 7 * log / (3 * (count - 1))
