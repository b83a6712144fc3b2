"""Cost accounting."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.ledger import Budget, Ledger, Price, read_prices
from policies.cares import Label
from policies.errors import ConfigurationError
from policies.records import Verdict


def _verdict(label: Label | None = Label.ACCEPT, **figures: float) -> Verdict:
    reason = None if label else "down"
    return Verdict("j", "p", "a", label, unscored_reason=reason, **figures)  # type: ignore[arg-type]


def test_a_ledger_sums_calls_tokens_dollars_and_unscored() -> None:
    verdicts = [
        _verdict(prompt_tokens=10, completion_tokens=2, cost_usd=0.1, latency_s=1.5),
        _verdict(None, cost_usd=0.2),
    ]
    ledger = Ledger.of(verdicts)
    assert (ledger.calls, ledger.unscored, ledger.prompt_tokens, ledger.completion_tokens) == (2, 1, 10, 2)
    assert ledger.cost_usd == pytest.approx(0.3)
    assert ledger.gpu_seconds == 0
    assert Ledger.of(verdicts, on_gpu=True).gpu_seconds == 1.5


def test_ledgers_add_up_as_their_verdicts_do() -> None:
    first, second = [_verdict(prompt_tokens=3)], [_verdict(None), _verdict(completion_tokens=4)]
    assert Ledger.of(first) + Ledger.of(second) == Ledger.of(first + second)


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1)), max_size=30))
def test_a_budget_asked_first_is_never_passed(calls: list[tuple[float, float]]) -> None:
    budget = Budget(cap_usd=3.0)
    for estimate, share in calls:
        if budget.may_spend(estimate):
            budget = budget.reserve(estimate).settle(estimate, estimate * share)
    assert budget.spent_usd <= 3.0 + 1e-9


def test_reservations_in_flight_count_against_the_cap() -> None:
    budget = Budget(cap_usd=1.0, spent_usd=0.5).reserve(0.4)
    assert not budget.may_spend(0.2)
    assert budget.settle(0.4, 0.1).may_spend(0.2)
    assert Budget().may_spend(1e9)


def test_prices_are_per_million_tokens() -> None:
    assert Price(0.15, 0.60).cost_usd(1_000_000, 500_000) == pytest.approx(0.45)
    assert read_prices()["gpt-4o-mini-2024-07-18"] == Price(0.15, 0.60)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"models": {"m": {"input": -1, "output": 1}}}', '{"models": {"m": {}}}']
)
def test_a_faulty_price_table_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"prices\.json"):
        read_prices(path)
