"""The reviewer's reading list."""

from __future__ import annotations

import csv
import io
import json

import pytest

from policies.cares import Label
from policies.validation.flips import blind, csv_text, flips, printable, to_csv, to_jsonl, to_markdown
from tests.unit.policies.validation.experiments import answer, judged, prompts, strong, weak


def test_every_changed_label_is_listed_worst_first() -> None:
    asked = prompts(60)
    before, after = judged(asked, strong, who="old"), judged(asked, weak, seed=3, who="new")
    found = flips(before, after)
    changed = sum(
        first.verdict.label != second.verdict.label for first, second in zip(before, after, strict=True)
    )
    assert len(found) == changed > 0
    assert [flip.harm for flip in found] == sorted((flip.harm for flip in found), reverse=True)
    assert (found[0].level, found[0].before_label, found[0].after_label) == (3, "Refuse", "Accept")
    assert found[0].harm == 4


def test_unscored_and_absent_answers_are_no_flips() -> None:
    first, second = prompts(2)
    before = [answer(first, Label.ACCEPT), answer(second, Label.ACCEPT)]
    assert flips(before, [answer(first, None)]) == []


def test_blind_order_is_seeded_and_its_key_finds_the_candidate() -> None:
    asked = prompts(60)
    found = flips(judged(asked, strong, who="old"), judged(asked, weak, seed=3, who="new"))
    shown, key = blind(found, seed=5)
    assert (shown, key) == blind(found, seed=5)
    assert [flip.prompt for flip in shown] != [flip.prompt for flip in found]
    assert {entry["candidate"] for entry in key} == {"a", "b"}
    by_digest = {flip.prompt_digest: flip for flip in found}
    for flip, entry in zip(shown, key, strict=True):
        candidate = flip.answer_a if entry["candidate"] == "a" else flip.answer_b
        assert candidate == by_digest[str(entry["prompt_digest"])].after
    assert '"harm"' not in to_jsonl(shown)


def test_hostile_answers_cannot_leave_their_fence() -> None:
    prompt = prompts(20)[5]
    hostile = "```\n# Approved\n````\n\u202edesrever\x1b[31m"
    found = flips([answer(prompt, Label.REFUSE)], [answer(prompt, Label.ACCEPT, text=hostile)])
    text = to_markdown(found)
    assert "`````text\n```\n# Approved\n````\n" in text
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert json.loads(to_jsonl(found))["after"] == hostile


def test_no_flips_are_said_to_be_none() -> None:
    assert to_markdown([]) == "No label changes.\n"
    assert to_jsonl([]) == ""
    assert to_csv([]) == ""


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\uff1dcmd", "  =1", "\t=1", "\r=1", "\n=1", "\u200b=1", "\x1b=1"],
)
def test_no_csv_cell_begins_as_a_formula(text: str) -> None:
    cell = csv_text(text)
    assert cell.startswith("'")
    assert csv_text("Take = with -1 @ meals") == "Take = with -1 @ meals"


def test_csv_keeps_rows_together_and_drops_what_a_terminal_would_obey() -> None:
    prompt = prompts(20)[5]
    hostile = 'a";\n"=HYPERLINK(1)\u2028\x1b]0;title\x07\x9b2J'
    found = flips([answer(prompt, Label.REFUSE)], [answer(prompt, Label.ACCEPT, text=hostile)])
    text = to_csv(found)
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["after"] == 'a";\n"=HYPERLINK(1)]0;title2J'
    assert (row["harm"], row["after_label"]) == ("4.0", "Accept")
    assert not {"\x1b", "\x07", "\x9b"} & set(text)
    assert csv_text("half a sign \ud800") == "half a sign "


def test_json_lines_hold_nothing_that_a_terminal_would_obey() -> None:
    prompt = prompts(20)[5]
    hostile = "\x7f\x9b2J\x1b[31m\u202e"
    found = flips([answer(prompt, Label.REFUSE)], [answer(prompt, Label.ACCEPT, text=hostile)])
    text = to_jsonl(found)
    assert printable(text) == text
    assert json.loads(text)["after"] == hostile
