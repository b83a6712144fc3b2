from __future__ import annotations

from collections.abc import Iterator

import pytest

from policies.engines.batcher import Batcher, Question
from policies.errors import DataError, EngineError, Held
from policies.records import Policy
from tests.fakes.chat_engine import FakeChatEngine

BASE = Policy("b" * 64)
ADAPTER = Policy("b" * 64, "a" * 64)


def question(text: str, policy: Policy = BASE, seed: int = 0) -> Question:
    return Question(policy, ({"role": "user", "content": text},), 8, 0.0, 50, seed)


@pytest.fixture
def engine() -> FakeChatEngine:
    return FakeChatEngine()


@pytest.fixture
def batcher(engine: FakeChatEngine) -> Iterator[Batcher]:
    made = Batcher(engine, batch_size=3, capacity=5, linger_s=0.0)
    yield made
    engine.gate.set()
    made.close()


def occupy(engine: FakeChatEngine, batcher: Batcher) -> None:
    """Keep the engine's thread busy, so that what is asked next waits together."""
    engine.gate.clear()
    engine.busy.clear()
    batcher.ask(question("first"))
    assert engine.busy.wait(5.0)


def test_waiting_questions_of_one_policy_share_a_batch(engine: FakeChatEngine, batcher: Batcher) -> None:
    occupy(engine, batcher)
    futures = [
        batcher.ask(question("1", seed=1)),
        batcher.ask(question("other", ADAPTER)),
        batcher.ask(question("2", seed=2)),
        batcher.ask(question("3", seed=3)),
        batcher.ask(question("4", seed=4)),
    ]
    engine.gate.set()
    texts = [future.result(5.0).text for future in futures]
    assert texts == ["base: 1", f"{ADAPTER.adapter_name}: other", "base: 2", "base: 3", "base: 4"]
    assert engine.batches == [["first"], ["1", "2", "3"], ["other"], ["4"]]
    assert engine.seeds[1:4] == [1, 2, 3]


def test_full_queue_is_refused_not_grown(engine: FakeChatEngine, batcher: Batcher) -> None:
    occupy(engine, batcher)
    for number in range(5):
        batcher.ask(question(str(number)))
    with pytest.raises(Held, match="ask again later"):
        batcher.ask(question("one too many"))


def test_errand_runs_on_the_engine_thread_and_in_order(engine: FakeChatEngine, batcher: Batcher) -> None:
    occupy(engine, batcher)
    before = batcher.ask(question("before"))
    done = batcher.call(lambda: len(engine.batches))
    after = batcher.ask(question("after"))
    engine.gate.set()
    assert done.result(5.0) == 2
    assert before.result(5.0).text == "base: before"
    assert after.result(5.0).text == "base: after"


def test_failing_batch_leaves_the_thread_alive_and_quotes_nothing(
    engine: FakeChatEngine, batcher: Batcher, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(EngineError, match=r"^the engine failed with RuntimeError$"):
        batcher.ask(question("break")).result(5.0)
    assert "quotes" not in caplog.text
    assert batcher.ask(question("next")).result(5.0).text == "base: next"


def test_a_question_that_cannot_be_answered_fails_alone(engine: FakeChatEngine, batcher: Batcher) -> None:
    occupy(engine, batcher)
    futures = [batcher.ask(question(text)) for text in ("one", "too long", "two")]
    engine.gate.set()
    with pytest.raises(DataError, match="too long"):
        futures.pop(1).result(5.0)
    assert [future.result(5.0).text for future in futures] == ["base: one", "base: two"]
    assert engine.batches[1:] == [["one", "two"]]


def test_close_settles_what_still_waits(engine: FakeChatEngine) -> None:
    batcher = Batcher(engine, batch_size=1, linger_s=0.0)
    occupy(engine, batcher)
    late = batcher.ask(question("late"))
    cancelled = batcher.ask(question("cancelled"))
    cancelled.cancel()
    batcher._closed = True  # as close does, before the gate opens
    engine.gate.set()
    batcher.close()
    with pytest.raises(EngineError, match="shut down"):
        late.result(5.0)
    with pytest.raises(EngineError, match="shutting down"):
        batcher.ask(question("too late"))
