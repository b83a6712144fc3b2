"""Alignment of two policies' answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.cares import Label
from policies.errors import DataError
from policies.validation.tables import align, align_second
from tests.unit.policies.validation.experiments import (
    always,
    answer,
    judged,
    prompts,
    seconds,
    strong,
    weak,
    with_label,
)


def test_rows_are_paired_by_prompt_whatever_their_order() -> None:
    asked = prompts(20)
    before, after = judged(asked, weak), judged(asked, strong)
    pair, turned = align(before, after), align(before[::-1], after)
    assert pair.rows == 20
    assert pair.missing == 0
    assert (pair.before == turned.before).all()
    assert (pair.after == turned.after).all()


def test_absent_and_unscored_answers_are_missing_pairs() -> None:
    asked = prompts(20)
    before, after = judged(asked, weak), list(judged(asked, strong))
    after[3] = with_label(after[3], None)
    pair = align(before[1:], after[:-1])
    assert pair.total == 20
    assert pair.missing == 3


def test_worst_case_counts_missing_pairs_against_the_second_policy() -> None:
    asked = [prompt for prompt in prompts(40) if prompt.harmful_level == 3][:4]
    before = [answer(prompt, Label.ACCEPT) for prompt in asked]
    after = [answer(prompt, Label.REFUSE) for prompt in asked]
    assert align(before, after).worst == 1
    assert align(before, after[:3]).worst == pytest.approx(3 / 4)  # the absent one had nothing to lose
    assert align(before[:3], after).worst == pytest.approx(3 / 4)
    assert align(after, before[:3]).worst == -1


def test_several_answers_to_a_prompt_are_paired_by_their_seeds() -> None:
    prompt = prompts(1)[0]
    labels = (Label.ACCEPT, Label.REFUSE)
    rows = [
        replace(item, response=replace(item.response, seed=at, key=str(at)))
        for at, item in enumerate(answer(prompt, label) for label in labels)
    ]
    pair = align(rows, rows[::-1])
    assert pair.rows == 2
    assert (pair.before == pair.after).all()


def test_second_labels_are_found_by_answer() -> None:
    asked = prompts(10)
    before, after = judged(asked, weak, who="a"), judged(asked, always(Label.REFUSE), who="b")
    pair = align_second(before, after, (seconds(before), {}))
    assert (pair.rows, pair.missing) == (0, 10)
    pair = align_second(before, after, (seconds(before), seconds(after)))
    assert pair.rows == 10
    assert set(pair.after) == {2}


def test_second_label_off_the_menu_is_an_error() -> None:
    asked = prompts(2)
    rows = judged(asked, weak)
    wrong = {row.response.answer_digest: "Reject" for row in rows}
    with pytest.raises(DataError, match="second"):
        align_second(rows, rows, (wrong, wrong))  # type: ignore[arg-type]


def test_subgroups_are_levels_cells_and_methods() -> None:
    groups = align(judged(prompts(80), weak), judged(prompts(80), strong)).slices.groups()
    assert {"level 0", "level 3", "method role_play"} < groups.keys()
    assert any(name.startswith("principle 5, level") for name in groups)
