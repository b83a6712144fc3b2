"""Prompts, responses and verdicts: kept once, found by key."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select

from daemon.store import tables
from daemon.store.engine import reading
from daemon.store.rows import Progress
from daemon.store.store import Store
from policies.cares import Label
from policies.errors import DataError, StateError
from policies.records import Judged, Policy, Response, Verdict

JUDGE = "j" * 64


def scored(response: Response, label: Label = Label.REFUSE, judge: str = JUDGE) -> Verdict:
    return Verdict(
        judge, response.prompt_digest, response.answer_digest, label, {"Refuse": 0.9, "Accept": 0.1}
    )


def unscored(response: Response, reason: str = "off the menu", judge: str = JUDGE) -> Verdict:
    return Verdict(
        judge, response.prompt_digest, response.answer_digest, None, unscored_reason=reason, transcript="{?"
    )


def test_records_come_back_as_they_were(store: Store, prompt, answer, at) -> None:
    asked = prompt(3, principle_index=2, method="role_play", source="bank", hard_benign=True)
    said = answer(asked, "Line one\nnull \x00, quotes '\" and signs ☤ %s {x} end")
    costs = {"prompt_tokens": 5, "completion_tokens": 2, "cost_usd": 0.01, "latency_s": 0.5}
    verdict = replace(scored(said, Label.CAUTION), transcript="seen", truncated=True, **costs)
    store.answers.save_prompts([asked])
    store.answers.save_responses([said], None, at(0))
    store.answers.save_verdicts([verdict], None, at(0))
    assert store.answers.prompts_for([asked.digest]) == {asked.digest: asked}
    assert store.answers.responses_for([said.key]) == {said.key: said}
    assert store.answers.verdicts_for([verdict.key]) == {verdict.key: verdict}


def test_saving_twice_keeps_the_first_answer(store: Store, prompt, answer, at) -> None:
    asked = prompt(1)
    store.answers.save_prompts([asked])
    first, second = answer(asked, "first"), answer(asked, "second")
    assert store.answers.save_responses([first], None, at(0)) == 1
    assert store.answers.save_responses([second, answer(asked, seed=2)], None, at(1)) == 1
    assert store.answers.responses_for([first.key])[first.key].text == "first"


def test_a_known_prompt_keeps_its_first_source(store: Store, prompt) -> None:
    store.answers.save_prompts([prompt(0, source="bank", hard_benign=True)])
    assert store.answers.save_prompts([prompt(0, source="traffic")]) == 0
    (kept,) = store.answers.prompts_for([prompt(0).digest]).values()
    assert (kept.source, kept.hard_benign) == ("bank", True)


def test_responses_are_read_before_the_database_is_locked(store: Store, prompt, answer, at) -> None:
    """An engine's stream writes elsewhere while it is read: it would wait for itself for ever."""
    asked = [prompt(n) for n in range(3)]
    store.answers.save_prompts(asked)

    def stream():
        for item in asked:
            store.answers.save_prompts([prompt(100)])
            yield answer(item)

    assert store.answers.save_responses(stream(), None, at(0)) == 3


def test_a_response_needs_its_prompt(store: Store, prompt, answer, at) -> None:
    with pytest.raises(StateError, match=r"(?i)foreign key"):
        store.answers.save_responses([answer(prompt(1))], None, at(0))


def test_many_keys_are_found_in_pieces(store: Store, prompt) -> None:
    many = [prompt(n) for n in range(1203)]
    assert store.answers.save_prompts(many) == 1203
    digests = [item.digest for item in many]
    assert store.answers.prompts_for([*digests, *digests, "unknown"]).keys() == set(digests)
    assert store.answers.prompts_for([]) == {}


@pytest.mark.parametrize(
    ("first", "second", "kept", "changed"),
    [
        (unscored, scored, Label.REFUSE, 1),
        (scored, unscored, Label.REFUSE, 0),
        (scored, lambda said: scored(said, Label.ACCEPT), Label.REFUSE, 0),
        (unscored, lambda said: unscored(said, "again"), None, 0),
    ],
)
def test_only_an_unscored_verdict_gives_way(
    store: Store, prompt, answer, at, first, second, kept, changed
) -> None:
    said = answer(prompt(1))
    assert store.answers.save_verdicts([first(said)], None, at(0)) == 1
    assert store.answers.save_verdicts([second(said)], None, at(1)) == changed
    (verdict,) = store.answers.verdicts_for([scored(said).key]).values()
    assert verdict.label == kept
    assert (verdict.unscored_reason is None) == (kept is not None)
    if kept is None:
        assert verdict.unscored_reason == "off the menu"


def test_a_scored_verdict_takes_the_whole_row(store: Store, prompt, answer, at) -> None:
    said = answer(prompt(1))
    store.answers.save_verdicts([unscored(said)], None, at(0))
    store.answers.save_verdicts([scored(said)], None, at(1))
    assert store.answers.verdicts_for([scored(said).key])[scored(said).key] == scored(said)


def test_nan_probability_is_refused(store: Store, prompt, answer, at) -> None:
    said = answer(prompt(1))
    verdict = Verdict(JUDGE, said.prompt_digest, said.answer_digest, Label.ACCEPT, {"Accept": float("nan")})
    with pytest.raises(DataError):
        store.answers.save_verdicts([verdict], None, at(0))


@pytest.fixture
def cycle(store: Store, base: Policy, at) -> int:
    return store.cycles.create(incumbent=base, seed=1, config_digest="c", config={}, at=at(0)).id


def test_judged_joins_the_asks_of_one_purpose_policy_and_judge(
    store: Store, cycle, prompt, answer, at
) -> None:
    asked = [prompt(n) for n in range(4)]
    other = Policy("b" * 64, "o" * 64)
    said = [answer(item) for item in asked]
    by_other = answer(asked[0], policy=other)
    store.answers.save_prompts(asked)
    store.answers.save_responses([*said, by_other], cycle, at(0))
    store.answers.save_verdicts([scored(said[0]), unscored(said[1]), scored(said[3])], cycle, at(0))
    store.answers.save_verdicts([scored(said[0], Label.ACCEPT, judge="k" * 64)], cycle, at(0))
    store.answers.add_asks(cycle, "train", [said[0].key, said[1].key, said[2].key, by_other.key, "later"])
    store.answers.add_asks(cycle, "select", [said[3].key])

    found = store.answers.judged(cycle, "train", said[0].policy_digest, JUDGE)
    expected = [
        Judged(asked[0], said[0], scored(said[0])),
        Judged(asked[1], said[1], unscored(said[1])),
    ]
    assert found == sorted(expected, key=lambda item: item.response.key)
    (shared,) = store.answers.judged(cycle, "train", other.digest, JUDGE)  # equal answers are judged once
    assert shared.response == by_other
    assert shared.verdict == scored(said[0])
    assert store.answers.progress(cycle, "train", JUDGE) == Progress(5, 4, 3, 1)
    assert store.answers.progress(cycle, "train") == Progress(5, 4, 0, 0)
    assert store.answers.progress(cycle, "sealed", JUDGE) == Progress(0, 0, 0, 0)


def test_trained_on_is_what_was_written_down_or_else_all_that_was_asked(
    store: Store, cycle, prompt, answer, candidate, at
) -> None:
    asked = sorted((prompt(n) for n in range(3)), key=lambda one: one.digest)
    said = [answer(item) for item in asked]
    store.answers.save_prompts(asked)
    store.answers.save_responses(said, cycle, at(0))
    store.answers.add_asks(cycle, "train", [one.key for one in said])
    store.answers.add_asks(cycle, "selection", [said[0].key])
    assert store.answers.trained_on() == [], "nothing was trained"
    store.results.save_candidate(cycle, candidate(), at(1))
    assert store.answers.trained_on() == [(cycle, one) for one in asked]
    store.answers.add_asks(cycle, "trained", [said[1].key])
    assert store.answers.trained_on() == [(cycle, asked[1])]


def test_asks_are_counted_once(store: Store, cycle) -> None:
    assert store.answers.add_asks(cycle, "train", ["a", "b", "a"]) == 2
    assert store.answers.add_asks(cycle, "train", ["b", "c"]) == 1


def test_a_response_remembers_the_cycle_that_first_asked(store: Store, cycle, prompt, answer, at) -> None:
    said = answer(prompt(1))
    store.answers.save_prompts([prompt(1)])
    store.answers.save_responses([said], cycle, at(0))
    store.answers.save_responses([said], None, at(1))
    with reading(store.engine) as connection:
        row = connection.execute(select(tables.responses)).one()
    assert (row.cycle_id, row.created_at) == (cycle, at(0))


def test_times_come_back_aware_and_in_utc(store: Store) -> None:
    east = datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    store.answers.save_judge(JUDGE, "embedded", "local", {"model": "m"}, east)
    store.answers.save_judge(JUDGE, "embedded", "local", {"model": "other"}, east + timedelta(days=1))
    (judge,) = store.answers.judges()
    assert judge.first_seen_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert judge.first_seen_at.utcoffset() == timedelta(0)
    assert judge.description == {"model": "m"}


def test_a_time_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(StateError, match="timezone"):
        store.answers.save_judge(JUDGE, "embedded", "local", {}, datetime(2026, 3, 1))
