"""The panel's rules."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest

from judges.panel import Member, PanelJudge
from policies.cares import LABELS, Label
from policies.errors import ConfigurationError, JudgeError
from policies.records import Prompt, Response, Verdict
from tests.unit.judges.items import Item, item, items


class Fixed:
    """A judge that says the given labels in turn; after `dies_after` verdicts it cannot be asked any more."""

    def __init__(
        self,
        name: str,
        *labels: Label | None,
        probabilities: dict[str, float] | None = None,
        dies_after: int | None = None,
    ) -> None:
        self.name = self.digest = name
        self.labels, self.probabilities, self.dies_after = labels, probabilities, dies_after
        self.closed = False

    def judge(self, items: Sequence[tuple[Prompt, Response]]) -> Iterator[Verdict]:
        for place, (prompt, response) in enumerate(items):
            if place == self.dies_after:
                raise JudgeError(f"judge {self.name}: gone")
            label = self.labels[place % len(self.labels)]
            yield Verdict(
                self.digest,
                prompt.digest,
                response.answer_digest,
                label,
                probabilities=self.probabilities if label else None,
                unscored_reason=None if label else "down",
                prompt_tokens=10,
                cost_usd=0.25,
                latency_s=1.0,
            )

    def close(self) -> None:
        self.closed = True


A, C, R = LABELS


def _panel(*seats: tuple[Label | None, float], agreement: float = 0.6) -> PanelJudge:
    members = [Member(Fixed(f"j{place}", label), weight) for place, (label, weight) in enumerate(seats)]
    return PanelJudge("panel", members, agreement=agreement)


def _ask(panel: PanelJudge, what: Item | None = None) -> Verdict:
    return next(panel.judge([what or item("a")]))


@pytest.mark.parametrize(
    ("seats", "agreement", "label"),
    [
        ([(A, 1), (A, 1), (R, 1)], 0.6, A),
        ([(A, 1), (A, 1), (R, 1)], 0.7, None),
        ([(A, 1), (R, 1)], 0.5, None),
        ([(A, 1), (R, 3)], 0.75, R),
        ([(A, 1), (R, 1), (C, 1)], 0.3, None),
        ([(A, 1), (A, 1), (None, 1)], 0.7, None),
        ([(A, 1), (A, 1), (None, 1)], 0.6, A),
        ([(None, 1), (None, 1)], 0.1, None),
        ([(A, 0.1), (A, 0.2), (R, 0.7)], 0.7, R),
        ([(A, 0.1), (A, 0.2), (A, 0.1)], 1.0, A),
    ],
)
def test_the_heaviest_label_wins_where_enough_weight_agrees(
    seats: list[tuple[Label | None, float]], agreement: float, label: Label | None
) -> None:
    verdict = _ask(_panel(*seats, agreement=agreement))
    assert verdict.label is label
    assert (verdict.unscored_reason is None) == (label is not None)


def test_an_abstention_keeps_what_every_member_said() -> None:
    verdict = _ask(_panel((A, 1), (R, 1), (None, 2)))
    assert "below 0.60" in (verdict.unscored_reason or "")
    minutes = json.loads(verdict.transcript or "")
    assert [(line["judge"], line["label"], line["reason"]) for line in minutes] == [
        ("j0", "Accept", None),
        ("j1", "Refuse", None),
        ("j2", None, "down"),
    ]


def test_probabilities_are_averaged_by_weight_over_members_that_have_them() -> None:
    sure = Fixed("a", A, probabilities={"Accept": 0.9, "Caution": 0.1, "Refuse": 0.0})
    less = Fixed("b", A, probabilities={"Accept": 0.6, "Caution": 0.2, "Refuse": 0.2})
    verdict = _ask(PanelJudge("p", [Member(sure, 1), Member(less, 2), Member(Fixed("c", A), 5)]))
    assert verdict.probabilities == pytest.approx({"Accept": 0.7, "Caution": 0.5 / 3, "Refuse": 0.4 / 3})
    assert _ask(_panel((A, 1), (A, 1))).probabilities is None


def test_costs_and_times_add_up() -> None:
    verdict = _ask(_panel((A, 1), (A, 1), (R, 1)))
    assert (verdict.prompt_tokens, verdict.cost_usd, verdict.latency_s) == (30, 0.75, 3.0)


def test_order_is_kept() -> None:
    members = [Member(Fixed(name, A, C, R)) for name in "ab"]
    batch = items(5)
    verdicts = list(PanelJudge("p", members).judge(batch))
    assert [verdict.label for verdict in verdicts] == [A, C, R, A, C]
    assert [verdict.answer_digest for verdict in verdicts] == [
        response.answer_digest for _, response in batch
    ]


def test_a_member_that_fails_altogether_loses_its_votes_only() -> None:
    members = [Member(Fixed("a", A)), Member(Fixed("b", A)), Member(Fixed("c", A, dies_after=1))]
    verdicts = list(PanelJudge("p", members, agreement=0.9).judge(items(3)))
    assert [verdict.label for verdict in verdicts] == [A, None, None]
    assert "gone" in (verdicts[2].transcript or "")


def test_the_digest_covers_members_weights_and_agreement_but_not_their_order() -> None:
    first, second = Fixed("a", A), Fixed("b", A)
    panel = PanelJudge("p", [Member(first, 1), Member(second, 2)])
    assert panel.digest == PanelJudge("q", [Member(second, 2), Member(first, 1)]).digest
    assert panel.digest != PanelJudge("p", [Member(first, 2), Member(second, 1)]).digest
    assert panel.digest != PanelJudge("p", [Member(first, 1), Member(second, 2)], agreement=0.7).digest
    assert panel.digest != PanelJudge("p", [Member(first, 1), Member(Fixed("c", A), 2)]).digest


@pytest.mark.parametrize(
    ("seats", "agreement", "named"),
    [
        ([("a", 1.0)], 0.6, "two members"),
        ([("a", 1.0), ("b", 0.0)], 0.6, "weight"),
        ([("a", 1.0), ("b", float("nan"))], 0.6, "weight"),
        ([("a", 1.0), ("b", 1.0)], 0.0, "agreement"),
        ([("a", 1.0), ("a", 1.0)], 0.6, "twice"),
    ],
)
def test_a_senseless_panel_is_refused(seats: list[tuple[str, float]], agreement: float, named: str) -> None:
    members = [Member(Fixed(name, A), weight) for name, weight in seats]
    with pytest.raises(ConfigurationError, match=named):
        PanelJudge("p", members, agreement=agreement)


def test_closing_closes_every_member() -> None:
    judges = [Fixed("a", A), Fixed("b", A)]
    PanelJudge("p", [Member(judge) for judge in judges]).close()
    assert all(judge.closed for judge in judges)
