"""The reviewer's reading list."""

from __future__ import annotations

import json

from policies.cares import Label
from policies.validation.flips import blind, flips, to_jsonl, to_markdown
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
