"""What every statistic asks of its input: finite numbers, one cluster a row, levels between 0 and 1."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policies.errors import DataError, NotEnoughData

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


def finite(values: ArrayLike, name: str) -> Floats:
    """`values` as floats of shape (n,). NaN, infinity, another shape: DataError; n = 0: NotEnoughData."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: not all values are numbers; leave unscored rows out first") from error
    if array.ndim != 1:
        raise DataError(f"{name}: expected one number a row, found an array of shape {array.shape}")
    if array.size == 0:
        raise NotEnoughData(f"{name}: no rows, so there is nothing to estimate")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise DataError(
            f"{name}: row {bad[0]} is not finite ({bad.size} such rows); leave unscored rows out first"
        )
    return array


def binary(values: ArrayLike, name: str) -> Floats:
    """`values` as floats that are all 0 or 1, shape (n,)."""
    array = finite(np.asarray(values, dtype=np.float64), name)
    bad = np.flatnonzero((array != 0) & (array != 1))
    if bad.size:
        raise DataError(f"{name}: row {bad[0]} is neither 0 nor 1")
    return array


def label_codes(values: ArrayLike, name: str, classes: int) -> Codes:
    """`values` as class codes 0 … classes−1, shape (n,)."""
    array = finite(np.asarray(values, dtype=np.float64), name)
    bad = np.flatnonzero((array != np.floor(array)) | (array < 0) | (array >= classes))
    if bad.size:
        raise DataError(f"{name}: row {bad[0]} is not a class code from 0 to {classes - 1}")
    return array.astype(np.intp)


def same_rows(first: NDArray[Any], second: NDArray[Any], name: str) -> None:
    """DataError unless both hold one entry for each of the same rows."""
    if len(first) != len(second):
        raise DataError(f"{name}: {len(first)} rows against {len(second)}; paired rows must be the same rows")


def cluster_codes(clusters: Iterable[Hashable] | NDArray[Any], rows: int) -> tuple[Codes, int]:
    """Cluster ids of any hashable kind → (codes 0 … k−1 of shape (rows,), k). Integer arrays are fastest."""
    if isinstance(clusters, np.ndarray) and clusters.dtype.kind in "iu" and clusters.ndim == 1:
        names, codes = np.unique(clusters, return_inverse=True)
        count = len(names)
    else:
        seen: dict[Hashable, int] = {}
        codes = np.fromiter((seen.setdefault(name, len(seen)) for name in clusters), dtype=np.intp)
        if any(name is None or name != name for name in seen):
            raise DataError("clusters: a row has no cluster; give every row its base_prompt")
        count = len(seen)
    if len(codes) != rows:
        raise DataError(f"clusters: {len(codes)} ids for {rows} rows; give every row its base_prompt")
    return codes.astype(np.intp), count


def fraction(value: float, name: str) -> float:
    """`value`, strictly between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise DataError(f"{name}: {value} is not between 0 and 1")
    return float(value)
