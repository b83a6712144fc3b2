"""Nothing is asked or judged twice, whatever goes wrong in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from daemon.cycle.answers import Asking, Metered, unscored_share
from daemon.store.rows import CycleRow
from daemon.store.store import Store
from judges.base import Judge
from policies.cares import Label
from policies.engines.base import Engine
from policies.errors import EngineError, JudgeError
from policies.records import Ask, Policy, Prompt, Response, Sampling, Verdict
from tests.fakes.labelling_judges import OpinionJudge
from tests.fakes.scripted_engine import ScriptedEngine

BASE = Policy("b" * 64)
ASKS = [Ask(Prompt(f"prompt {'x' * (n % 5)} {n}", 0, f"p{n}"), Sampling(8), 0) for n in range(40)]


@pytest.fixture
def cycle(store: Store, at: Callable[[float], datetime]) -> CycleRow:
    return store.cycles.create(incumbent=BASE, seed=7, config_digest="c" * 64, config={}, at=at(0))


@pytest.fixture
def asking(store: Store, cycle: CycleRow, at: Callable[[float], datetime]) -> Asking:
    return Asking(store=store, now=lambda: at(1), cycle_id=cycle.id)


def unwanted() -> Any:
    raise AssertionError("nothing may be made where everything is known")


def accepts(prompt: Prompt, response: Response) -> Label:
    return Label.ACCEPT


def test_answers_come_in_the_order_of_the_asks(asking: Asking) -> None:
    engine = ScriptedEngine()
    answered = asking.answer(lambda: engine, BASE, ASKS, purpose="train")
    assert [ask for ask, _ in answered] == ASKS
    assert all(response.key == ask.key(BASE.digest) for ask, response in answered)


def test_what_is_known_needs_no_engine(asking: Asking) -> None:
    first = asking.answer(ScriptedEngine, BASE, ASKS, purpose="train")
    assert asking.answer(unwanted, BASE, ASKS, purpose="select") == first


@pytest.mark.parametrize("error", [EngineError("the server is gone"), RuntimeError("out of memory")])
@pytest.mark.parametrize("dies_after", [0, 1, 15, 16, 17, 39])
def test_every_answer_that_was_given_before_an_interruption_is_kept_and_not_asked_again(
    asking: Asking, store: Store, dies_after: int, error: Exception
) -> None:
    first, second = ScriptedEngine(dies_after=dies_after, error=error), ScriptedEngine()
    with pytest.raises(type(error)):
        asking.answer(lambda: first, BASE, ASKS, purpose="train")
    assert store.answers.counts()["responses"] == dies_after
    answered = asking.answer(lambda: second, BASE, ASKS, purpose="train")
    assert len(answered) == len(ASKS)
    together = first.asked + second.asked
    assert len(together) == len(ASKS)
    assert set(together.values()) == {1}, "nothing was asked twice"


def test_an_ask_that_comes_twice_is_asked_once(asking: Asking) -> None:
    engine = ScriptedEngine()
    answered = asking.answer(lambda: engine, BASE, [*ASKS[:3], ASKS[0]], purpose="train")
    assert engine.asked.total() == 3
    assert answered[3] == answered[0]


def test_asks_are_written_down_before_they_are_answered(
    asking: Asking, store: Store, cycle: CycleRow
) -> None:
    with pytest.raises(RuntimeError):
        asking.answer(lambda: ScriptedEngine(dies_after=3), BASE, ASKS, purpose="train")
    progress = store.answers.progress(cycle.id, "train")
    assert (progress.asked, progress.answered) == (len(ASKS), 3)


def test_another_policy_is_asked_anew(asking: Asking) -> None:
    engine = ScriptedEngine()
    asking.answer(lambda: engine, BASE, ASKS, purpose="train")
    asking.answer(lambda: engine, Policy("b" * 64, "a" * 64), ASKS, purpose="train")
    assert engine.asked.total() == 2 * len(ASKS)


class Dying(OpinionJudge):
    """Judges `lives` items in all, then raises."""

    lives = 21

    def judge(self, items: Sequence[tuple[Prompt, Response]]) -> Iterator[Verdict]:
        for number, verdict in enumerate(super().judge(items)):
            if number >= self.lives:
                raise JudgeError("the judge is gone")
            yield verdict


def test_every_verdict_before_an_interruption_is_kept_and_not_paid_for_again(
    asking: Asking, store: Store
) -> None:
    answered = asking.answer(ScriptedEngine, BASE, ASKS, purpose="train")
    with pytest.raises(JudgeError):
        asking.judge(lambda: Dying(accepts), answered, purpose="train")
    assert store.answers.counts()["verdicts"] == 21
    second = OpinionJudge(accepts)
    judged = asking.judge(lambda: second, answered, purpose="train")
    assert second.asked == len(ASKS) - 21
    assert [one.response for one in judged] == [response for _, response in answered]
    assert store.evidence.spent().calls == len(ASKS), "the ledger counts each verdict once"


def test_unscored_answers_are_judged_again_and_scored_ones_are_not(asking: Asking) -> None:
    answered = asking.answer(ScriptedEngine, BASE, ASKS, purpose="train")
    doubtful = {response.answer_digest for _, response in answered[:7]}
    first = OpinionJudge(lambda _, response: None if response.answer_digest in doubtful else Label.REFUSE)
    judged = asking.judge(lambda: first, answered, purpose="train")
    assert unscored_share(judged) == 7 / len(ASKS)
    second = OpinionJudge(accepts)
    again = asking.judge(lambda: second, answered, purpose="train")
    assert second.asked == 7
    assert [one.verdict.label for one in again] == [Label.ACCEPT] * 7 + [Label.REFUSE] * (len(ASKS) - 7)
    third = OpinionJudge(accepts)
    assert asking.judge(lambda: third, answered, purpose="train") == again
    assert third.asked == 0


def test_answer_that_stays_unscored_is_tried_again_once_and_then_left(
    asking: Asking, store: Store, cycle: CycleRow, at: Callable[[float], datetime]
) -> None:
    answered = asking.answer(ScriptedEngine, BASE, ASKS, purpose="train")
    judge = OpinionJudge(lambda _prompt, _response: None)
    for asked in (1, 2, 2, 2):
        judged = asking.judge(lambda: judge, answered, purpose="train")
        assert judge.asked == asked * len(ASKS)
        assert unscored_share(judged) == 1.0
    # Another run tries once more: meanwhile the judge may be well again.
    asking = Asking(store=store, now=lambda: at(2), cycle_id=cycle.id)
    for _ in range(2):
        asking.judge(lambda: judge, answered, purpose="train")
    assert judge.asked == 3 * len(ASKS)


class Computing(OpinionJudge):
    """Takes a quarter of a second for every verdict, and two dollars."""

    on_gpu = True

    def judge(self, items: Sequence[tuple[Prompt, Response]]) -> Iterator[Verdict]:
        yield from (replace(verdict, latency_s=0.25, cost_usd=2.0) for verdict in super().judge(items))


@pytest.mark.parametrize(("on_gpu", "seconds"), [(True, 10.0), (False, 0.0)])
def test_ledger_counts_seconds_of_judges_on_a_gpu_only(
    asking: Asking, store: Store, on_gpu: bool, seconds: float
) -> None:
    judge = Computing(accepts)
    judge.on_gpu = on_gpu
    answered = asking.answer(ScriptedEngine, BASE, ASKS, purpose="train")
    asking.judge(lambda: judge, answered, purpose="train")
    assert store.evidence.spent().gpu_seconds == seconds


def test_metered_judge_says_the_same_and_is_booked_up_to_where_it_died(
    asking: Asking, store: Store, cycle: CycleRow, at: Callable[[float], datetime]
) -> None:
    items = [(ask.prompt, said) for ask, said in asking.answer(ScriptedEngine, BASE, ASKS, purpose="train")]
    judge = Computing(accepts)
    metered = Metered(judge, store=store, now=lambda: at(2), cycle_id=cycle.id)
    assert list(metered.judge(items)) == list(judge.judge(items))
    assert (metered.name, metered.digest) == (judge.name, judge.digest)
    spent = store.evidence.spent(cycle_id=cycle.id, judge_digest=judge.digest)
    assert (spent.calls, spent.cost_usd, spent.gpu_seconds) == (40, 80.0, 10.0)
    dying = Metered(Dying(accepts, name="dying"), store=store, now=lambda: at(3), cycle_id=None)
    with pytest.raises(JudgeError):
        list(dying.judge(items))
    assert store.evidence.spent(judge_digest=dying.digest).calls == 21
    metered.close()
    assert judge.closed


def test_equal_answers_to_a_prompt_are_judged_once(asking: Asking) -> None:
    prompt = Prompt("Why?", 0, "Why?")
    twice = [Ask(prompt, Sampling(8, 1.0), seed) for seed in range(5)]
    answered = asking.answer(
        lambda: ScriptedEngine(text=lambda ask: "Because."), BASE, twice, purpose="train"
    )
    judge = OpinionJudge(accepts)
    assert len(asking.judge(lambda: judge, answered, purpose="train")) == 5
    assert judge.asked == 1


def test_another_judge_judges_anew(asking: Asking) -> None:
    answered = asking.answer(ScriptedEngine, BASE, ASKS, purpose="train")
    first, second = OpinionJudge(accepts, name="a"), OpinionJudge(accepts, name="b")
    for judge in (first, second):
        asking.judge(lambda judge=judge: judge, answered, purpose="train")
    assert (first.asked, second.asked) == (len(ASKS), len(ASKS))


def test_verdicts_belong_to_their_answers(asking: Asking) -> None:
    answered = asking.answer(ScriptedEngine, BASE, ASKS, purpose="train")
    judge = OpinionJudge(lambda prompt, _: Label.REFUSE if prompt.text.endswith("7") else Label.ACCEPT)
    for one in asking.judge(lambda: judge, answered, purpose="train"):
        assert one.verdict.answer_digest == one.response.answer_digest
        assert one.verdict.label is (Label.REFUSE if one.prompt.text.endswith("7") else Label.ACCEPT)


def test_progress_starts_from_what_is_known_and_ends_complete(
    store: Store, at: Callable[[float], datetime]
) -> None:
    told: list[dict[str, Any]] = []
    asking = Asking(store=store, now=lambda: at(1), report=told.append)
    engine: Callable[[], Engine] = ScriptedEngine
    judge: Callable[[], Judge] = lambda: OpinionJudge(accepts)  # noqa: E731
    asking.answer(engine, BASE, ASKS[:10], purpose="evaluate")
    told.clear()
    answered = asking.answer(engine, BASE, ASKS, purpose="evaluate")
    asking.judge(judge, answered, purpose="evaluate")
    for what in ("asking evaluate", "judging evaluate"):
        steps = [event["done"] for event in told if event["what"] == what]
        assert steps[0] == (10 if what.startswith("asking") else 0)
        assert steps == sorted(steps)
        assert steps[-1] == len(ASKS)
    assert not any("prompt" in str(event) for event in told), "progress holds no text that was asked"


def test_share_of_unscored_answers_of_none_is_nought() -> None:
    assert unscored_share([]) == 0.0
