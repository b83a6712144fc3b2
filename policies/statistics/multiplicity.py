"""Many tests, one error budget: Holm over candidates, alpha spending over cycles.

Every cycle tests new candidates, so nothing is known of how the tests correlate: the budget is the plain sum
of the cycles' alphas (union bound), and a family of one cycle's candidates is tested by Holm at that cycle's
alpha.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri
from scipy.stats import norm

from policies.errors import ConfigurationError, DataError
from policies.statistics.inputs import Floats, finite, fraction


@dataclass(frozen=True, eq=False)
class Holm:
    """Holm's step-down: `adjusted` p-values and `reject`, both (n,) in the order given."""

    adjusted: Floats
    reject: np.typing.NDArray[np.bool_]


def holm(p_values: ArrayLike, *, alpha: float = 0.05) -> Holm:
    """Holm 1979: family-wise error at most `alpha`, whatever the dependence."""
    values = finite(p_values, "p-values")
    if (values < 0).any() or (values > 1).any():
        raise DataError("p-values: not all lie between 0 and 1")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return Holm(adjusted, adjusted <= fraction(alpha, "alpha"))


def _pocock(alpha: float, time: float) -> float:
    return alpha * math.log1p((math.e - 1) * min(time, 1.0))


def _obrien_fleming(alpha: float, time: float) -> float:
    return float(2 * norm.sf(-ndtri(alpha / 2) / math.sqrt(min(time, 1.0)))) if time > 0 else 0.0


_PLANNED: dict[str, Callable[[float, float], float]] = {"pocock": _pocock, "obrien_fleming": _obrien_fleming}
SPENDING = ("harmonic", "geometric", *_PLANNED)


@dataclass(frozen=True)
class SpendingPlan:
    """How the error budget `alpha` (one-sided) is spent over cycles 1, 2, …

    `harmonic` spends alpha / (k (k + 1)) and `geometric` alpha (1 − ratio) ratio^(k−1): any number of cycles
    stays within the budget. `pocock` and `obrien_fleming` are the Lan–DeMets (1983) functions of k /
    `cycles` and have nothing left after the planned number of cycles.
    """

    alpha: float = 0.05
    spending: str = "harmonic"
    cycles: int | None = None
    ratio: float = 0.8

    def __post_init__(self) -> None:
        if not (0 < self.alpha < 1 and 0 < self.ratio < 1):
            raise ConfigurationError("alpha spending: alpha and ratio have to lie between 0 and 1")
        if self.spending not in SPENDING:
            raise ConfigurationError(
                f"alpha spending: {self.spending!r} is unknown; choose one of {', '.join(SPENDING)}"
            )
        if self.spending in _PLANNED and (self.cycles is None or self.cycles < 1):
            raise ConfigurationError(
                f"alpha spending: {self.spending} needs `cycles`, the planned number of cycles"
            )

    def spent_through(self, cycle: int) -> float:
        """Budget spent by cycles 1 … `cycle`; 0 for cycle 0."""
        if cycle < 0:
            raise DataError(f"alpha spending: cycle {cycle} is below 0")
        if self.spending == "harmonic":
            return self.alpha * cycle / (cycle + 1)
        if self.spending == "geometric":
            return self.alpha * (1 - self.ratio**cycle)
        return _PLANNED[self.spending](self.alpha, cycle / (self.cycles or 1))

    def alpha_for_cycle(self, cycle: int) -> float:
        """The level of the `cycle`-th test, counted from 1."""
        if cycle < 1:
            raise DataError(f"alpha spending: cycles count from 1, not {cycle}")
        return self.spent_through(cycle) - self.spent_through(cycle - 1)

    def remaining(self, cycle: int) -> float:
        """Budget left after `cycle` cycles."""
        return self.alpha - self.spent_through(cycle)
