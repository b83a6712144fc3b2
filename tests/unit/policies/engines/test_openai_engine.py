from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from policies.engines.adapters import adapter_digest
from policies.engines.openai_server import OpenAIEngine
from policies.engines.retries import Backoff
from policies.errors import EngineError
from policies.records import Ask, Context, Policy, Prompt, Response, Sampling
from tests.fakes.openai_server import Hang, OpenAIServer, RawBody, Say, Slow, Status, TruncatedBody
from tests.fakes.vllm_server import FakeVllm, answer_of, write_adapter

BASE = Policy("b" * 64)
SECRET = "sk-never-shown"
Make = Callable[..., OpenAIEngine]


class Naps:
    """Stands in for sleeping: remembers the seconds, lets the others run."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def make(naps: Naps) -> Iterator[Make]:
    made: list[OpenAIEngine] = []

    def build(url: str, **changes: object) -> OpenAIEngine:
        settings: dict = {"base_model_name": "base", "max_retries": 3, "base_digest": BASE.base_digest}
        settings |= {"backoff": Backoff(base_s=0.01), "sleep": naps, "api_key": SECRET} | changes
        made.append(OpenAIEngine(url, **settings))
        return made[-1]

    yield build
    for engine in made:
        engine.close()


def asks(count: int, sampling: Sampling | None = None) -> list[Ask]:
    prompts = [Prompt(f"question {number}", 0, f"question {number}") for number in range(count)]
    return [Ask(prompt, sampling or Sampling(), seed) for seed, prompt in enumerate(prompts)]


def echo(request: dict) -> str:
    return f"echo {request['messages'][-1]['content']} {request['seed']}"


def failing(answers: Iterator[Response], match: str) -> list[Response]:
    """What was yielded before the EngineError that must come."""
    got: list[Response] = []

    def read() -> None:
        for response in answers:
            got.append(response)  # extend would lose what came before the error

    with pytest.raises(EngineError, match=match):
        read()
    return got


def test_every_ask_is_answered_with_its_own_answer(make: Make) -> None:
    with OpenAIServer(echo) as server:
        wanted = asks(40)
        got = {response.key: response for response in make(server.base_url).generate(BASE, wanted)}
    assert len(got) == 40
    for ask in wanted:
        response = got[ask.key(BASE.digest)]
        assert response.text == f"echo {ask.prompt.text} {ask.seed}"
        assert response.prompt_digest == ask.prompt.digest
        assert (response.finish_reason, response.tokens) == ("stop", 4)


def test_half_an_emoji_in_an_answer_becomes_a_question_mark(make: Make) -> None:
    with OpenAIServer(script=[Say("take \ud83d two"), Say("whole \U0001f600")]) as server:
        engine = make(server.base_url, concurrency=1)
        answers = list(engine.generate(BASE, asks(2)))
    assert [response.text for response in answers] == ["take ? two", "whole \U0001f600"]
    assert all(len(response.answer_digest) == 64 for response in answers)


def test_fast_answers_do_not_wait_for_a_slow_one(make: Make) -> None:
    with OpenAIServer(echo) as server:
        server.script_for("question 0", Slow(0.3))
        order = [r.seed for r in make(server.base_url, concurrency=2).generate(BASE, asks(4))]
    assert order[-1] == 0
    assert sorted(order) == [0, 1, 2, 3]


def test_concurrency_is_bounded(make: Make) -> None:
    with OpenAIServer(echo, script=[Slow(0.02)] * 12) as server:
        list(make(server.base_url, concurrency=3).generate(BASE, asks(12)))
        assert server.most_in_flight == 3


def test_request_carries_context_and_sampling(make: Make) -> None:
    context = Context("worked", (("user", "example"), ("assistant", "I cannot help")))
    sampling = Sampling(max_new_tokens=9, temperature=0.7, top_k=20, context=context)
    with OpenAIServer(echo) as server:
        (response,) = make(server.base_url).generate(BASE, asks(1, sampling))
        list(make(server.base_url).generate(BASE, asks(1)))
    sampled, greedy = server.requests
    assert [message["content"] for message in sampled["messages"]] == [
        "example",
        "I cannot help",
        "question 0",
    ]
    assert (sampled["max_tokens"], sampled["temperature"], sampled["top_k"]) == (9, 0.7, 20)
    assert "top_k" not in greedy
    assert (response.context_name, response.sampling_digest) == ("worked", sampling.digest)


@pytest.mark.parametrize("trouble", [Status(429), Status(500), Status(503), TruncatedBody(), RawBody()])
def test_passing_trouble_is_retried(make: Make, naps: Naps, trouble: object) -> None:
    with OpenAIServer(echo, script=[trouble, trouble]) as server:  # type: ignore[list-item]
        (response,) = make(server.base_url).generate(BASE, asks(1))
    assert response.text == "echo question 0 0"
    assert len(naps.taken) == 2


def test_retry_after_is_honoured(make: Make, naps: Naps) -> None:
    with OpenAIServer(echo, script=[Status(429, retry_after=7)]) as server:
        list(make(server.base_url).generate(BASE, asks(1)))
    assert naps.taken == [7.0]


def test_retry_after_beyond_the_deadline_is_not_waited_for(make: Make, naps: Naps) -> None:
    with OpenAIServer(echo, script=[Status(429, retry_after=7)]) as server:
        engine = make(server.base_url, total_deadline_s=5.0)
        with pytest.raises(EngineError, match="would pass the total deadline"):
            list(engine.generate(BASE, asks(1)))
    assert naps.taken == []


def test_retries_are_bounded_and_the_others_are_still_yielded(make: Make) -> None:
    with OpenAIServer(echo, script=[Status(500)] * 4) as server:
        engine = make(server.base_url, concurrency=1)
        reason = r"left 1 of 3 asks unanswered \(HTTP 500 .* in each of 4"
        got = failing(engine.generate(BASE, asks(3)), reason)
    assert [response.seed for response in got] == [1, 2]


def test_hung_server_ends_at_the_total_deadline(make: Make) -> None:
    with OpenAIServer(echo, script=[Say("fine"), Hang()]) as server:
        engine = make(server.base_url, concurrency=1, total_deadline_s=0.3)
        got = failing(engine.generate(BASE, asks(3)), r"left 2 of 3 .*total deadline of 0\.3 s")
    assert [response.text for response in got] == ["fine"]


def test_slow_attempt_is_cut_and_repeated(make: Make) -> None:
    with OpenAIServer(echo, script=[Hang()]) as server:
        (response,) = make(server.base_url, request_timeout_s=0.2).generate(BASE, asks(1))
    assert response.text == "echo question 0 0"


def test_wrong_key_stops_all_asks_at_once_and_is_not_shown(make: Make) -> None:
    with OpenAIServer(echo, api_key="sk-another") as server:
        engine = make(server.base_url, concurrency=1)
        with pytest.raises(EngineError, match=r"left 50 of 50 .*check the API key") as caught:
            list(engine.generate(BASE, asks(50)))
        assert server.calls == 1
    assert SECRET not in f"{caught.value}{caught.value.__cause__}{engine!r}"


def test_credentials_in_the_url_are_not_shown(make: Make) -> None:
    engine = make("http://user:sk-in-url@127.0.0.1:9/v1", max_retries=0)
    with pytest.raises(EngineError) as caught:
        list(engine.generate(BASE, asks(1)))
    assert "sk-in-url" not in f"{caught.value}{engine!r}"
    assert "http://127.0.0.1:9/v1" in str(caught.value)


def test_server_words_and_prompts_stay_out_of_errors(make: Make) -> None:
    with OpenAIServer(echo, script=[Status(400, message="you sent: question 0")]) as server:
        engine = make(server.base_url)
        with pytest.raises(EngineError) as caught:
            list(engine.generate(BASE, asks(1)))
    assert "question 0" not in str(caught.value)


def test_unknown_finish_reason_is_an_error_of_that_ask_alone(make: Make) -> None:
    with OpenAIServer(echo, script=[Say("x", finish_reason="content_filter"), Say("y", "length")]) as server:
        engine = make(server.base_url, concurrency=1)
        got = failing(engine.generate(BASE, asks(2)), "left 1 of 2")
    assert [response.finish_reason for response in got] == ["length"]


def test_abandoned_generation_stops_asking(make: Make) -> None:
    with OpenAIServer(echo, script=[Slow(0.01)] * 50) as server:
        engine = make(server.base_url, concurrency=1)
        answers = engine.generate(BASE, asks(50))
        next(answers)
        answers.close()  # type: ignore[attr-defined]
        list(engine.generate(BASE, asks(1)))
        assert server.calls < 10


def test_no_asks_is_no_call(make: Make) -> None:
    assert list(make("http://127.0.0.1:9").generate(BASE, [])) == []


def adapter(folder: Path) -> Policy:
    return Policy(BASE.base_digest, adapter_digest(folder), folder)


def test_missing_adapter_is_loaded_once_and_answers(make: Make, tmp_path: Path) -> None:
    policy = adapter(write_adapter(tmp_path / "a", "weights a"))
    with FakeVllm() as vllm:
        engine = make(vllm.url)
        texts = {response.text for _ in range(2) for response in engine.generate(policy, asks(3))}
        assert vllm.calls == [("load", policy.adapter_name)]
        assert {response.text for response in engine.generate(BASE, asks(1))} == {"answer of base"}
    assert texts == {answer_of(tmp_path / "a")}


def test_adapter_lost_by_a_restart_is_loaded_again(make: Make, tmp_path: Path) -> None:
    policy = adapter(write_adapter(tmp_path / "a", "weights a"))
    with FakeVllm() as vllm:
        engine = make(vllm.url, concurrency=1)
        vllm.hold()
        losing = threading.Thread(target=lose, args=[vllm])
        losing.start()
        texts = [response.text for response in engine.generate(policy, asks(3))]
        losing.join()
        assert texts == [answer_of(tmp_path / "a")] * 3
        assert vllm.calls == [("load", policy.adapter_name)] * 2


def lose(vllm: FakeVllm) -> None:
    """Take the adapter away while the first answer is being made."""
    while not vllm.asked:
        time.sleep(0.002)
    vllm.forget()
    vllm.go()


def test_without_admin_calls_a_missing_adapter_is_an_error(make: Make, tmp_path: Path) -> None:
    policy = adapter(write_adapter(tmp_path / "a", "weights a"))
    with FakeVllm() as vllm:
        with pytest.raises(EngineError, match="allow admin calls"):
            list(make(vllm.url, admin=False).generate(policy, asks(1)))
        assert vllm.calls == []


def test_changed_adapter_folder_is_refused(make: Make, tmp_path: Path) -> None:
    policy = adapter(write_adapter(tmp_path / "a", "weights a"))
    (tmp_path / "a" / "adapter_config.json").write_text("{}")
    with FakeVllm() as vllm, pytest.raises(EngineError, match="has changed"):
        list(make(vllm.url).generate(policy, asks(1)))


def test_policy_of_another_base_is_refused(make: Make) -> None:
    with pytest.raises(EngineError, match="serves base bbbbbbbbbbbb"):
        list(make("http://127.0.0.1:9").generate(Policy("c" * 64), asks(1)))


def test_base_digest_comes_from_the_served_model_where_not_configured(make: Make) -> None:
    with FakeVllm() as vllm, FakeVllm(base="other") as other:
        first = make(vllm.url, base_digest=None).base_digest
        assert first == make(vllm.url, base_digest=None).base_digest
        assert first != make(other.url, base_digest=None, base_model_name="other").base_digest
        with pytest.raises(EngineError, match="serves no model 'base'"):
            _ = make(other.url, base_digest=None).base_digest


def test_close_twice_is_harmless(make: Make) -> None:
    before = threading.active_count()
    engine = make("http://127.0.0.1:9")
    assert threading.active_count() == before + 1
    engine.close()
    engine.close()
    assert threading.active_count() == before, "the private loop's thread has ended"
