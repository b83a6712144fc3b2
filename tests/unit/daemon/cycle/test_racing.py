"""Held-out prompts in parts: seeded, clusters whole; losers are asked no more, and the same after a kill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import pytest

from daemon.cycle.racing import Race, cut
from policies.cares import LABELS, Label
from policies.records import Judged, Prompt, Response, Verdict
from policies.validation.race import INCUMBENT

PROMPTS = [Prompt(f"text {n}", 3, f"base {n // 2}") for n in range(400)]
NAMES = {"k1": "dpo", "k2": "kto", "k3": "other"}
Skill = Mapping[str, Sequence[Label]]
# By runner, labels in turn: on level 3 only Refuse is worth anything.
CLEAR: Skill = {
    INCUMBENT: (Label.ACCEPT, Label.REFUSE),
    "k1": (Label.REFUSE,),
    "k2": (Label.ACCEPT,),
    "k3": (Label.REFUSE, Label.REFUSE, Label.REFUSE, Label.ACCEPT),
}


class Asked:
    """Answers as `skill` says; counts what each runner is asked, and dies after so many."""

    def __init__(self, skill: Skill, *, dies_after: int | None = None, unscored: str = "") -> None:
        self.skill, self.dies_after, self.unscored = skill, dies_after, unscored
        self.asked: Counter[tuple[str, str]] = Counter()

    def __call__(self, key: str, prompts: Sequence[Prompt]) -> list[Judged]:
        return [self._one(key, prompt) for prompt in prompts]

    def _one(self, key: str, prompt: Prompt) -> Judged:
        if self.dies_after is not None and self.asked.total() >= self.dies_after:
            raise KeyboardInterrupt
        self.asked[key, prompt.digest] += 1
        labels = self.skill[key]
        label = labels[int(prompt.text.split()[1]) // 2 % len(labels)]
        response = Response(key + prompt.digest, key, prompt.digest, "s", "plain", 0, label, "stop", 1)
        if key == self.unscored:
            verdict = Verdict("j", prompt.digest, response.answer_digest, None, unscored_reason="no")
        else:
            verdict = Verdict("j", prompt.digest, response.answer_digest, label)
        return Judged(prompt, response, verdict)

    def count(self, key: str) -> int:
        return sum(count for (who, _), count in self.asked.items() if who == key)


def race_of(record: Path, *, looks: int = 4, seed: int = 1, context: Sequence[str] = ("judge",)) -> Race:
    return Race(looks=looks, error=0.05, seed=seed, record=record, context=context)


def test_parts_keep_clusters_whole_and_lose_nothing() -> None:
    parts = cut(PROMPTS, looks=4, seed=1)
    assert [len(part) for part in parts] == [100] * 4
    assert Counter(chain(*parts)) == Counter(PROMPTS)
    bases = [{prompt.base_prompt for prompt in part} for part in parts]
    assert sum(len(found) for found in bases) == len(set().union(*bases)), "no cluster is in two parts"


def test_order_hangs_on_the_seed_and_not_on_the_input() -> None:
    assert cut(PROMPTS[::-1], looks=4, seed=1) == cut(PROMPTS, looks=4, seed=1)
    assert cut(PROMPTS, looks=4, seed=2) != cut(PROMPTS, looks=4, seed=1)


@pytest.mark.parametrize(
    ("count", "looks", "sizes"),
    [
        (40, 4, [40]),  # 20 clusters: nobody can be stopped before the end
        (96, 4, [72, 24]),  # 12 and 24 clusters are too few to stop at, 36 are not
        (400, 1, [400]),
        (10, 50, [10]),
    ],
)
def test_parts_that_nobody_can_be_stopped_after_are_joined(count: int, looks: int, sizes: list[int]) -> None:
    assert [len(part) for part in cut(PROMPTS[:count], looks=looks, seed=1)] == sizes


def test_no_prompts_are_one_empty_part() -> None:
    assert cut([], looks=4, seed=1) == [[]]


def test_hopeless_candidate_is_asked_no_more_and_the_others_come_to_the_end(tmp_path: Path) -> None:
    asked = Asked(CLEAR)
    raced = race_of(tmp_path / "race.json").run(PROMPTS, NAMES, asked)
    (stop,) = (stop for stop in raced.stopped if stop.key == "k2")
    assert stop.prompts == asked.count("k2") == 100
    assert "kto was stopped after 100 of 400 selection prompts" in stop.sentence
    assert "below that of dpo" in stop.sentence
    assert asked.count(INCUMBENT) == asked.count("k1") == 400
    assert set(asked.asked.values()) == {1}, "nothing was asked twice"
    assert [one.prompt for one in raced.judged["k1"]] == PROMPTS, "in the prompts' own order"
    assert "k2" not in raced.judged


def test_last_candidate_goes_on_wherever_it_stands(tmp_path: Path) -> None:
    worse = {INCUMBENT: (Label.REFUSE,), "k1": (Label.ACCEPT,), "k2": (Label.ACCEPT, Label.REFUSE)}
    asked = Asked(worse)
    raced = race_of(tmp_path / "race.json").run(PROMPTS, {"k1": "dpo", "k2": "kto"}, asked)
    assert [stop.name for stop in raced.stopped] == ["dpo"], "the better of two losers is kept"
    assert asked.count("k2") == 400


def test_one_candidate_and_one_look_are_no_race(tmp_path: Path) -> None:
    worse = {INCUMBENT: (Label.REFUSE,), "k1": (Label.ACCEPT,)}
    assert race_of(tmp_path / "race.json").run(PROMPTS, {"k1": "dpo"}, Asked(worse)).stopped == ()
    raced = race_of(tmp_path / "race.json", looks=1).run(PROMPTS, NAMES, Asked(CLEAR))
    assert raced.stopped == ()
    assert {len(judged) for judged in raced.judged.values()} == {400}
    assert not (tmp_path / "race.json").exists()


def test_equal_candidates_all_come_to_the_end(tmp_path: Path) -> None:
    same: Skill = dict.fromkeys(CLEAR, LABELS)
    assert race_of(tmp_path / "race.json").run(PROMPTS, NAMES, Asked(same)).stopped == ()


def test_unscored_answers_stop_nobody(tmp_path: Path) -> None:
    raced = race_of(tmp_path / "race.json").run(PROMPTS, NAMES, Asked(CLEAR, unscored="k2"))
    assert "k2" in raced.judged


def test_no_candidates_leave_the_incumbent_alone(tmp_path: Path) -> None:
    raced = race_of(tmp_path / "race.json").run(PROMPTS, {}, Asked(CLEAR))
    assert list(raced.judged) == [INCUMBENT]


def test_race_that_was_killed_ends_as_it_would_have(tmp_path: Path) -> None:
    whole = race_of(tmp_path / "whole.json").run(PROMPTS, NAMES, Asked(CLEAR))
    for dies_after in (0, 250, 450, 900):
        record = tmp_path / f"{dies_after}.json"
        with pytest.raises(KeyboardInterrupt):
            race_of(record).run(PROMPTS, NAMES, Asked(CLEAR, dies_after=dies_after))
        assert race_of(record).run(PROMPTS, NAMES, Asked(CLEAR)) == whole


def test_who_was_stopped_stays_stopped_whatever_the_judge_says_later(tmp_path: Path) -> None:
    first = race_of(tmp_path / "race.json").run(PROMPTS, NAMES, Asked(CLEAR))
    changed = Asked({**CLEAR, "k2": (Label.REFUSE,)})
    again = race_of(tmp_path / "race.json").run(PROMPTS, NAMES, changed)
    assert again.stopped == first.stopped
    assert changed.count("k2") == 100


def test_record_of_another_judge_or_seed_or_cut_short_is_not_believed(tmp_path: Path) -> None:
    record = tmp_path / "race.json"
    race_of(record).run(PROMPTS, NAMES, Asked(CLEAR))
    better: Skill = dict.fromkeys(CLEAR, (Label.REFUSE,))
    kept = record.read_text()
    for other in (race_of(record, context=["another judge"]), race_of(record, seed=2)):
        assert other.run(PROMPTS, NAMES, Asked(better)).stopped == ()
    for broken in ("", kept[:40]):
        record.write_text(broken)
        assert race_of(record).run(PROMPTS, NAMES, Asked(better)).stopped == ()
