"""Oscillations in the report: only with history enough, told for each candidate, texts in the JSON alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from daemon.cycle.oscillating import releases_of, write_oscillations
from policies.cares import Label
from policies.records import Judged, Prompt, Response, Verdict
from policies.validation.evidence import Answers, Evidence, JudgeEvidence

PROMPTS = [Prompt("a | question", 3, "one"), Prompt("another", 3, "two")]
JUDGE = JudgeEvidence("j", "d", "t", True, "", None, True, "")
A, R = Label.ACCEPT, Label.REFUSE


def release(role: str, name: str, *labels: Label) -> Answers:
    judged = []
    for prompt, label in zip(PROMPTS, labels, strict=True):
        said = Response(name + prompt.digest, name, prompt.digest, "s", "plain", 0, "x", "stop", 1)
        judged.append(Judged(prompt, said, Verdict("j", prompt.digest, said.answer_digest, label)))
    return Answers(role, name, name, tuple(judged))


def evidence(**changes: object) -> Evidence:
    found = Evidence(
        incumbent=release("incumbent", "incumbent", R, R),
        candidates=(release("candidate", "dpo", A, R), release("candidate", "kto", R, R)),
        base=release("base", "base", A, A),
        judge=JUDGE,
        cycle_number=1,
        seed=1,
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def test_prompts_that_flip_back_are_counted_by_candidate_and_listed(tmp_path: Path) -> None:
    assert write_oscillations(tmp_path, evidence()) == {"dpo": 1, "kto": 0}
    rows = json.loads((tmp_path / "oscillations.json").read_text())
    assert rows["kto"] == []
    (row,) = rows["dpo"]
    assert (row["prompt"], row["turns"], row["level"]) == ("a | question", 1, 3)
    assert row["labels"] == ["Accept", "Refuse", "Accept"]
    assert row["releases"] == ["base", "incumbent", "dpo"]
    told = (tmp_path / "oscillations.md").read_text()
    assert f"| {PROMPTS[0].digest[:12]} | 3 | 1 | base Accept, incumbent Refuse, dpo Accept |" in told
    assert "No prompt flips back and forth." in told
    assert "question" not in told


def test_two_releases_are_too_few_to_flip_back(tmp_path: Path) -> None:
    first = release("incumbent", "base", A, A)
    found = evidence(incumbent=first, base=replace(first, role="base"))
    assert [one.name for one in releases_of(found, found.candidates[0])] == ["base", "dpo"]
    assert write_oscillations(tmp_path, found) is None
    assert list(tmp_path.iterdir()) == []


def test_champions_stand_between_base_and_incumbent(tmp_path: Path) -> None:
    found = evidence(
        champions=(release("champion", "release 2", R, R), release("champion", "release 3", A, R))
    )
    names = [one.name for one in releases_of(found, found.candidates[0])]
    assert names == ["base", "release 2", "release 3", "incumbent", "dpo"]
    assert write_oscillations(tmp_path, found) == {"dpo": 1, "kto": 1}
    assert json.loads((tmp_path / "oscillations.json").read_text())["dpo"][0]["turns"] == 3


def test_base_that_was_rolled_back_to_is_there_twice() -> None:
    base = release("base", "base", A, A)
    found = evidence(
        base=base,
        champions=(release("champion", "release 2", R, R),),
        incumbent=replace(base, role="incumbent"),
    )
    assert [one.key for one in releases_of(found, found.candidates[0])] == [
        "base",
        "release 2",
        "base",
        "dpo",
    ]


def test_without_candidates_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert write_oscillations(tmp_path, evidence(candidates=())) is None
