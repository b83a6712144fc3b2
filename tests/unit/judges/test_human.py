"""People as a judge."""

from __future__ import annotations

from judges.human import HumanJudge
from judges.labels import LabelledRow
from policies.cares import Label
from tests.unit.judges.items import item


def test_a_stored_label_is_found_by_answer_digest_and_the_rest_is_unscored() -> None:
    known, unknown = item("yes"), item("no")
    judge = HumanJudge({known[1].answer_digest: Label.REFUSE})
    first, second = judge.judge([known, unknown])
    assert first.label is Label.REFUSE
    assert (second.label, second.unscored_reason) == (None, "no human label")
    assert second.answer_digest == unknown[1].answer_digest


def test_an_imported_label_is_found_by_the_texts_whatever_the_level() -> None:
    prompt, response = item("yes", level=3)
    judge = HumanJudge.from_rows([LabelledRow(prompt.text, "yes", Label.CAUTION)])
    assert next(judge.judge([(prompt, response)])).label is Label.CAUTION


def test_people_who_disagree_settle_by_strict_majority_or_not_at_all() -> None:
    labels = [Label.ACCEPT, Label.REFUSE, Label.ACCEPT]
    prompt, response = item("x")
    rows = [LabelledRow(prompt.text, "x", label) for label in labels]
    assert next(HumanJudge.from_rows(rows).judge([(prompt, response)])).label is Label.ACCEPT
    assert next(HumanJudge.from_rows(rows[:2]).judge([(prompt, response)])).label is None


def test_a_new_label_makes_another_judge() -> None:
    assert HumanJudge({"a": Label.ACCEPT}).digest != HumanJudge({"a": Label.REFUSE}).digest
    assert HumanJudge({"a": Label.ACCEPT}).digest != HumanJudge({}).digest
    assert HumanJudge({"a": Label.ACCEPT}).digest == HumanJudge({"a": Label.ACCEPT}).digest
