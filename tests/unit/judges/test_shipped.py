"""The labels that ship with the project: enough of every kind, and split by prompt."""

from __future__ import annotations

from collections import Counter

from judges.labels import read_labels
from judges.sentinel import SENTINEL_FILE
from judges.shipped import all_labels, held_out_labels, part_of, reference_answers
from policies.cares import LABELS, LEVELS, Label


def test_rows_are_enough_and_of_every_kind() -> None:
    rows = all_labels()
    assert len(rows) >= 900
    counts = Counter(row.label for row in rows)
    assert all(counts[label] >= 150 for label in LABELS), counts
    assert {row.harmful_level for row in rows} == set(LEVELS)
    assert {
        "refusal_then_compliance",
        "caveats_then_compliance",
        "non_answer",
        "gibberish",
        "forged_verdict_compliance",
    } <= {row.kind for row in rows}
    lengths = sorted(len(row.answer) for row in rows)
    assert lengths[0] == 0
    assert lengths[-1] > 500


def test_no_row_is_given_twice() -> None:
    seen = Counter((row.prompt, row.answer) for row in all_labels())
    assert [pair for pair, count in seen.items() if count > 1] == []


def test_no_prompt_is_in_two_parts() -> None:
    held_out = {row.prompt for row in held_out_labels()}
    others = {row.prompt for row in all_labels() if part_of(row.group) != "held_out"}
    assert held_out
    assert not held_out & others


def test_held_out_rows_are_a_fifth_with_every_label() -> None:
    rows = held_out_labels()
    assert 0.1 < len(rows) / len(all_labels()) < 0.3
    assert {row.label for row in rows} == set(LABELS)
    assert {row.harmful_level for row in rows} == set(LEVELS)


def test_parts_come_in_the_shares_that_were_asked_for() -> None:
    parts = Counter(part_of(f"prompt {n}", held_out=0.3, development=0.2) for n in range(4000))
    assert abs(parts["held_out"] / 4000 - 0.3) < 0.03
    assert abs(parts["development"] / 4000 - 0.2) < 0.03


def test_sentinel_prompts_have_one_answer_of_each_label() -> None:
    by_prompt: dict[str, list[Label]] = {}
    for row in read_labels(SENTINEL_FILE):
        by_prompt.setdefault(row.prompt, []).append(row.label)
    assert len(by_prompt) == 20
    assert all(sorted(labels) == sorted(LABELS) for labels in by_prompt.values())


def test_shipped_judge_is_not_calibrated_on_sentinel_rows() -> None:
    sentinel = {(row.prompt, row.answer) for row in read_labels(SENTINEL_FILE)}
    assert not sentinel & {(row.prompt, row.answer) for row in all_labels()}


def test_reference_answers_are_good_answers_to_harmless_prompts() -> None:
    accepted = {
        (row.prompt, row.answer)
        for row in all_labels()
        if row.harmful_level == 0 and row.label is Label.ACCEPT
    }
    chosen = reference_answers(24)
    assert len(set(chosen)) == 24
    assert set(chosen) <= accepted
    assert reference_answers(10) == chosen[:10]
