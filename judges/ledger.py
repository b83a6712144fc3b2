"""What judging costs: a ledger summed from verdicts, a budget that is asked before money is spent, a price
table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from policies.errors import ConfigurationError
from policies.records import Verdict

SHIPPED_PRICES = Path(__file__).parent / "data" / "prices.json"


@dataclass(frozen=True)
class Ledger:
    """Sums over verdicts.

    `calls` counts verdicts asked for, `unscored` those among them that have no label.
    """

    calls: int = 0
    unscored: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    gpu_seconds: float = 0.0

    @classmethod
    def of(cls, verdicts: Iterable[Verdict], *, on_gpu: bool = False) -> Ledger:
        """The ledger of some verdicts; where the judge runs `on_gpu`, their latencies are its GPU-seconds."""
        kept = list(verdicts)
        return cls(
            calls=len(kept),
            unscored=sum(verdict.label is None for verdict in kept),
            prompt_tokens=sum(verdict.prompt_tokens for verdict in kept),
            completion_tokens=sum(verdict.completion_tokens for verdict in kept),
            cost_usd=math.fsum(verdict.cost_usd for verdict in kept),
            gpu_seconds=math.fsum(verdict.latency_s for verdict in kept) if on_gpu else 0.0,
        )

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger(
            calls=self.calls + other.calls,
            unscored=self.unscored + other.unscored,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost_usd=self.cost_usd + other.cost_usd,
            gpu_seconds=self.gpu_seconds + other.gpu_seconds,
        )


@dataclass(frozen=True)
class Budget:
    """A hard cap in dollars (None: no cap). Money is reserved at its worst case before a call and settled
    after it.

    As long as no call costs more than was reserved for it, `spent_usd` never passes `cap_usd`.
    """

    cap_usd: float | None = None
    spent_usd: float = 0.0
    reserved_usd: float = 0.0

    def may_spend(self, estimate_usd: float) -> bool:
        return self.cap_usd is None or self.spent_usd + self.reserved_usd + estimate_usd <= self.cap_usd

    def reserve(self, estimate_usd: float) -> Budget:
        return replace(self, reserved_usd=self.reserved_usd + estimate_usd)

    def settle(self, estimate_usd: float, actual_usd: float) -> Budget:
        """Releases a reservation and books what was really spent."""
        return replace(
            self,
            reserved_usd=max(0.0, self.reserved_usd - estimate_usd),
            spent_usd=self.spent_usd + actual_usd,
        )


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens."""

    input: float
    output: float

    def cost_usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


FREE = Price(0.0, 0.0)


def read_prices(path: Path = SHIPPED_PRICES) -> dict[str, Price]:
    """The price table of a JSON file: `{"models": {name: {"input": …, "output": …}}}`.

    ConfigurationError if not.
    """
    try:
        models = json.loads(path.read_text(encoding="utf-8"))["models"]
        return {str(name): _price(row) for name, row in models.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise ConfigurationError(
            f"price table {path}: cannot be read;"
            ' it should be {"models": {NAME: {"input": X, "output": Y}}}, dollars per million tokens'
        ) from problem


def _price(row: Mapping[str, float]) -> Price:
    price = Price(float(row["input"]), float(row["output"]))
    if not (
        math.isfinite(price.input) and math.isfinite(price.output) and min(price.input, price.output) >= 0
    ):
        raise ValueError("a price is negative or not finite")
    return price
