"""What a gate says: pass, fail or inconclusive, with its figure and a sentence a person can check."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from policies.validation.scorecards import finite_json

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"


@dataclass(frozen=True)
class GateOutcome:
    """`figure` was held against `threshold`; `margin`: how far it lies on the good side, below 0 on the bad.

    None where a gate holds no figure against anything.
    """

    name: str
    outcome: str
    figure: float | None
    threshold: float | None
    margin: float | None
    sentence: str

    @property
    def passed(self) -> bool:
        return self.outcome == PASS

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = finite_json(asdict(self))
        return found

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> GateOutcome:
        return cls(**body)


def at_most(name: str, outcome: str, figure: float, threshold: float, sentence: str) -> GateOutcome:
    """An outcome whose figure must not exceed the threshold."""
    return _checked(name, outcome, figure, threshold, threshold - figure, sentence)


def at_least(name: str, outcome: str, figure: float, threshold: float, sentence: str) -> GateOutcome:
    """An outcome whose figure must reach the threshold."""
    return _checked(name, outcome, figure, threshold, figure - threshold, sentence)


def plain(name: str, outcome: str, sentence: str) -> GateOutcome:
    """An outcome without figures."""
    return GateOutcome(name, outcome, None, None, None, sentence)


def undecided(name: str, sentence: str) -> GateOutcome:
    return plain(name, INCONCLUSIVE, sentence)


def _checked(
    name: str, outcome: str, figure: float, threshold: float, margin: float, sentence: str
) -> GateOutcome:
    # NaN compares false with everything: without this, `figure > threshold → fail` would let it pass.
    if not (math.isfinite(figure) and math.isfinite(threshold)):
        return GateOutcome(name, INCONCLUSIVE, None, None, None, f"its figure is no number; {sentence}")
    return GateOutcome(name, outcome, figure, threshold, margin, sentence)
