"""Near-duplicate texts by MinHash: found with datasketch's LSH, confirmed by the exact Jaccard similarity.

A text's set is its words and its runs of three words: the runs tell long texts apart that share a topic, the
words keep a short question from having too few elements to compare. One rule for all lengths, so that a
pair's similarity does not jump where a text crosses a boundary.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from datasketch import MinHash, MinHashLSH

THRESHOLD = 0.7
_MISSED = 1e-3  # highest probability that the LSH overlooks a pair lying exactly at the threshold
# Scripts written without spaces have no words to split at: each character counts as one.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)


def normalised(text: str) -> str:
    """Lower-case words joined by single spaces: what is left when case, marks and invisible characters go.

    A text without any word keeps its own characters, so that two different ones stay different.
    """
    visible = "".join(
        character
        for character in unicodedata.normalize("NFKC", text)
        if unicodedata.category(character) != "Cf"  # zero-width characters must not hide a copy
    ).casefold()
    return " ".join(_WORD.findall(visible)) or visible.strip()


def shingles(text: str) -> frozenset[str]:
    """The words of `text` and its runs of three words."""
    words = normalised(text).split(" ")
    runs = (" ".join(words[start : start + 3]) for start in range(len(words) - 2))
    return frozenset(words) | frozenset(runs)


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Size of the intersection over size of the union, in [0, 1]."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


class Groups:
    """Union-find over the integers 0 … size-1."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, item: int) -> int:
        """The smallest member of `item`'s group."""
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.find(one), self.find(other)))
        self._parent[high] = low


def near_duplicate_pairs(
    texts: Sequence[str], *, threshold: float = THRESHOLD, num_perm: int = 128, seed: int = 0
) -> list[tuple[int, int, float]]:
    """Pairs (i, j, similarity), i < j, of texts whose Jaccard similarity is at least `threshold`.

    Equal sets are compared once, with their first text. Whether a pair is found depends on the two texts and
    the arguments alone, never on the other texts: a later check with the same arguments sees the same pairs.
    """
    first_with: dict[frozenset[str], int] = {}
    pairs: list[tuple[int, int, float]] = []
    for index, text in enumerate(texts):
        first = first_with.setdefault(shingles(text), index)
        if first != index:
            pairs.append((first, index, 1.0))
    sets = list(first_with)
    numbers = list(first_with.values())
    encoded = ([item.encode() for item in sorted(items)] for items in sets)
    sketches = MinHash.bulk(encoded, num_perm=num_perm, seed=seed)
    lsh = MinHashLSH(num_perm=num_perm, params=_bands(threshold, num_perm))
    for position, sketch in enumerate(sketches):
        for earlier in lsh.query(sketch):
            similarity = jaccard(sets[earlier], sets[position])
            if similarity >= threshold:
                pairs.append((numbers[earlier], numbers[position], similarity))
        lsh.insert(position, sketch)
    return sorted(pairs)


def near_duplicate_clusters(
    texts: Sequence[str], *, threshold: float = THRESHOLD, num_perm: int = 128, seed: int = 0
) -> list[int]:
    """Cluster id of each text: the position of the cluster's first text.

    Clusters are the connected components of `near_duplicate_pairs`.
    """
    groups = Groups(len(texts))
    for one, other, _ in near_duplicate_pairs(texts, threshold=threshold, num_perm=num_perm, seed=seed):
        groups.join(one, other)
    return [groups.find(index) for index in range(len(texts))]


def drop_near_duplicates(texts: Iterable[str], *, threshold: float = THRESHOLD, seed: int = 0) -> list[int]:
    """Positions of the texts to keep, ascending: the first of every cluster."""
    clusters = near_duplicate_clusters(list(texts), threshold=threshold, seed=seed)
    return [index for index, cluster in enumerate(clusters) if cluster == index]


def _bands(threshold: float, num_perm: int) -> tuple[int, int]:
    """Bands and rows: the longest rows that still overlook at most `_MISSED` of pairs at the threshold.

    datasketch's own choice balances misses against false candidates and at 0.7 misses every second pair;
    false candidates cost nothing here, since the exact similarity is computed for each.
    """
    for rows in range(num_perm // 2, 1, -1):
        if (1 - threshold**rows) ** (num_perm // rows) <= _MISSED:
            return num_perm // rows, rows
    return num_perm, 1
