"""Rows reduced once to sums per cluster, and totals of resampled clusters.

Every statistic here is a function of column totals, so a resample never touches rows. Clusters with equal
sums are interchangeable: drawing how often each *kind* of cluster occurs (a multinomial) has exactly the
distribution of drawing clusters with replacement, at the cost of the kinds and not of the clusters. Scores
come in halves, so there are few kinds. Kinds are sorted, which makes results independent of the order of
rows and names of clusters.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.errors import DataError
from policies.statistics.inputs import Codes, Floats, cluster_codes

_CHUNK_CELLS = 4_000_000  # resamples × clusters held at once: 32 MiB of counts
_KIND_COST = 20  # a multinomial cell costs about as much as drawing this many clusters
_DECIMALS = 12  # sums that differ by rounding only are the same sum


@dataclass(frozen=True, eq=False)
class ClusterSums:
    """Sums by cluster, equal ones folded: `kinds` (u, m) sorted, `multiplicity` (u,), `rows` behind them."""

    kinds: Floats
    multiplicity: Codes
    rows: int

    @classmethod
    def of(cls, columns: Floats, clusters: Iterable[Hashable] | NDArray[Any]) -> ClusterSums:
        """Fold `columns` (n, m), finite, by `clusters` (n ids)."""
        codes, count = cluster_codes(clusters, len(columns))
        sums = np.stack([np.bincount(codes, weights=column, minlength=count) for column in columns.T], axis=1)
        kinds, multiplicity = np.unique(np.round(sums, _DECIMALS), axis=0, return_counts=True)
        return cls(kinds.astype(np.float64), multiplicity.astype(np.intp), len(columns))

    @property
    def clusters(self) -> int:
        return int(self.multiplicity.sum())

    @property
    def totals(self) -> Floats:
        """Column totals, shape (m,)."""
        totals: Floats = self.multiplicity @ self.kinds
        return totals

    @property
    def without_one(self) -> Floats:
        """Totals with one cluster of each kind left out, shape (u, m); weigh them by `multiplicity`."""
        return self.totals - self.kinds

    def draws(self, resamples: int, seed: int) -> Floats:
        """Column totals of `resamples` draws of clusters with replacement, shape (resamples, m)."""
        if resamples < 1:
            raise DataError(f"resamples: {resamples} is less than 1")
        rng = np.random.default_rng(seed)
        pieces = self._by_kind if len(self.kinds) * _KIND_COST <= self.clusters else self._by_cluster
        return np.concatenate(list(pieces(resamples, rng)))

    def _by_kind(self, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
        shares = self.multiplicity / self.clusters
        for size in _chunks(resamples, len(self.kinds)):
            yield rng.multinomial(self.clusters, shares, size=size).astype(np.float64) @ self.kinds

    def _by_cluster(self, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
        count = self.clusters
        each = np.repeat(self.kinds, self.multiplicity, axis=0)
        for size in _chunks(resamples, count):
            counts = np.empty((size, count))
            for row in range(size):
                # intp, because bincount is five times slower on any other integer.
                picks = rng.integers(count, size=count, dtype=np.intp)
                counts[row] = np.bincount(picks, minlength=count)
            yield counts @ each


def _chunks(resamples: int, width: int) -> Iterator[int]:
    most = max(1, _CHUNK_CELLS // width)
    for start in range(0, resamples, most):
        yield min(most, resamples - start)
