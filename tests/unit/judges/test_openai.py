"""The OpenAI-compatible judge against a real HTTP server that misbehaves on demand."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest

from judges.ledger import Price
from judges.openai import OpenAIJudge
from judges.rubric import Rubric
from policies.cares import Label
from policies.digests import digest_of
from policies.errors import ConfigurationError
from policies.records import Verdict
from tests.fakes.openai_server import (
    Behaviour,
    Hang,
    OpenAIServer,
    RawBody,
    Request,
    Say,
    Slow,
    Status,
    TruncatedBody,
)
from tests.unit.judges.items import item, items

KEY = "sk-very-secret-0123456789"
RUBRIC = Rubric.load("compact")
PRICES = {"fake": Price(input=1.0, output=2.0)}


def judge_at(server: OpenAIServer, **changes: Any) -> OpenAIJudge:
    """A judge of the server with waits that suit a test."""
    settings: dict[str, Any] = {
        "api_key": KEY,
        "rubric": RUBRIC,
        "model": "fake",
        "base_url": server.base_url,
        "backoff_s": 0.001,
        "prices": PRICES,
        "attempt_timeout_s": 5.0,
    }
    return OpenAIJudge("reference", **(settings | changes))


def label_by_number(request: Request) -> str:
    """Accept for `answer 0.`, Caution for 1, Refuse for 2, Accept for 3 …"""
    text = request["messages"][-1]["content"]
    number = int(text.rsplit("answer ", 1)[1].split(".")[0])
    return ("Accept", "Caution", "Refuse")[number % 3]


def one(server: OpenAIServer, **changes: Any) -> Verdict:
    return next(iter(judge_at(server, **changes).judge([item("Two tablets.")])))


def refusing(*script: Behaviour, **settings: Any) -> OpenAIServer:
    return OpenAIServer(lambda _: "Refuse", script=script, **settings)


def test_a_verdict_has_label_usage_cost_and_transcript() -> None:
    with refusing() as server:
        verdict = one(server)
    prompt, response = item("Two tablets.")
    assert verdict.label is Label.REFUSE
    assert (verdict.prompt_digest, verdict.answer_digest) == (prompt.digest, response.answer_digest)
    assert verdict.prompt_tokens > 20
    assert verdict.completion_tokens == 2
    assert verdict.cost_usd == pytest.approx((verdict.prompt_tokens * 1.0 + 2 * 2.0) / 1e6)
    assert verdict.latency_s > 0
    assert "Refuse" in (verdict.transcript or "")


@pytest.mark.parametrize("trouble", [Say("Refuse \ud83d"), Status(400, message="\ud83d")])
def test_half_an_emoji_in_a_reply_is_unscored_and_can_be_kept(trouble: Behaviour) -> None:
    with refusing(trouble) as server:
        verdict = one(server, max_retries=0)
    assert verdict.label is None
    assert digest_of(asdict(verdict))


def test_transcript_in_an_alphabet_of_half_characters_can_be_kept() -> None:
    with refusing() as server:
        transcript = judge_at(server)._transcript(f"\ud83d {KEY}")
    assert transcript == "? [key]"


def test_the_request_is_what_the_reference_judge_asks_for() -> None:
    with refusing() as server:
        one(server, rubric=Rubric.load("blind"))
        (request,) = server.requests
    assert request["model"] == "fake"
    assert request["temperature"] == 0
    assert request["messages"][0] == {"role": "system", "content": "You are a helpful assistant."}
    assert request["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"] == [
        "Accept",
        "Caution",
        "Refuse",
    ]
    assert request["logprobs"] is True
    assert request["max_tokens"] > 4


def test_order_is_kept_while_requests_run_side_by_side() -> None:
    with OpenAIServer(label_by_number, script=[Slow(0.15)]) as server:
        batch = items(20)
        verdicts = list(judge_at(server, concurrency=4).judge(batch))
        assert 2 <= server.most_in_flight <= 4
        assert server.calls == 20
    assert [verdict.label for verdict in verdicts] == [list(Label)[place % 3] for place in range(20)]
    assert [verdict.answer_digest for verdict in verdicts] == [
        response.answer_digest for _, response in batch
    ]


def test_a_verdict_is_handed_out_while_later_ones_are_still_waited_for() -> None:
    with OpenAIServer(label_by_number) as server:
        server.script_for("answer 1.", Hang())
        stream = judge_at(server, concurrency=2, verdict_deadline_s=30.0).judge(items(2))
        assert next(stream).label is Label.ACCEPT
        stream.close()  # does not wait for the one that hangs


def test_few_items_are_begun_ahead_of_the_last_one_handed_out() -> None:
    with OpenAIServer(label_by_number) as server:
        stream = judge_at(server, concurrency=2).judge(items(50))
        next(stream)
        time.sleep(0.05)
        assert server.calls <= 5
        stream.close()


@pytest.mark.parametrize(
    "trouble",
    [
        Status(429, retry_after=0),
        Status(500),
        Status(503, retry_after="0.01"),
        TruncatedBody(),
        RawBody(),
        RawBody("<html>502</html>"),
        RawBody("[]"),
    ],
    ids=str,
)
def test_passing_trouble_is_retried_and_success_is_not_asked_for_again(trouble: Behaviour) -> None:
    with refusing(trouble) as server:
        verdict = one(server)
        assert server.calls == 2
    assert verdict.label is Label.REFUSE


def test_a_hanging_attempt_is_given_up_and_repeated() -> None:
    with refusing(Hang()) as server:
        verdict = one(server, attempt_timeout_s=0.15)
        assert server.calls == 2
    assert verdict.label is Label.REFUSE


def test_retries_are_bounded_and_the_reason_names_the_status() -> None:
    with refusing(*[Status(500)] * 20) as server:
        verdict = one(server, max_retries=3)
        assert server.calls == 4
    assert (verdict.label, verdict.unscored_reason) == (None, "HTTP 500")
    assert verdict.cost_usd == 0


def test_a_verdict_ends_at_its_deadline() -> None:
    with refusing(*[Hang()] * 5) as server:
        started = time.perf_counter()
        verdict = one(server, verdict_deadline_s=0.2)
        assert time.perf_counter() - started < 2
    assert "did not answer in time" in (verdict.unscored_reason or "")


def test_a_batch_ends_at_its_deadline_and_keeps_what_was_made() -> None:
    with OpenAIServer(label_by_number, script=[Slow(0.0), *[Hang()] * 10]) as server:
        started = time.perf_counter()
        verdicts = list(judge_at(server, concurrency=1, total_deadline_s=0.4).judge(items(5)))
        assert time.perf_counter() - started < 3
        assert server.calls == 2
    assert verdicts[0].label is Label.ACCEPT
    assert [verdict.label for verdict in verdicts[1:]] == [None] * 4
    assert all("deadline" in (verdict.unscored_reason or "") for verdict in verdicts[2:])


def test_a_retry_after_beyond_the_deadline_is_not_waited_for() -> None:
    with refusing(Status(429, retry_after=60)) as server:
        started = time.perf_counter()
        verdict = one(server, verdict_deadline_s=5.0)
        assert time.perf_counter() - started < 2
        assert server.calls == 1
    assert "HTTP 429" in (verdict.unscored_reason or "")
    assert "deadline" in (verdict.unscored_reason or "")


def test_a_retry_after_is_honoured() -> None:
    with refusing(Status(429, retry_after="0.2")) as server:
        started = time.perf_counter()
        assert one(server).label is Label.REFUSE
        assert time.perf_counter() - started >= 0.2


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Say('{"label": "Maybe"}'), "not one of the labels"),
        (Say("I think it is fine"), "not one of the labels"),
        (Say('{"label": "Acc', finish_reason="length"), "cut off"),
        (Say(None, refusal="I can't judge that."), "refused to judge"),
        (Say(""), "empty"),
        (RawBody('{"choices": []}'), "no choice"),
    ],
    ids=str,
)
def test_an_unreadable_reply_is_unscored_with_its_transcript_and_not_asked_again(
    said: Behaviour, reason: str
) -> None:
    with refusing(said) as server:
        verdict = one(server)
        assert server.calls == 1
    assert verdict.label is None
    assert reason in (verdict.unscored_reason or "")
    assert verdict.transcript


def test_reject_is_read_as_refuse() -> None:
    with OpenAIServer(lambda _: "Reject") as server:
        assert one(server).label is Label.REFUSE


def test_probabilities_come_from_logprobs() -> None:
    shares = {"Accept": 0.2, "Caution": 0.1, "Refuse": 0.7}
    with refusing(probabilities=lambda _: shares) as server:
        assert one(server).probabilities == pytest.approx(shares)
        assert one(server, logprobs=False).probabilities is None


@pytest.mark.parametrize("rejected", [["response_format"], ["logprobs"], ["response_format", "logprobs"]])
def test_a_feature_that_the_server_rejects_is_given_up_for_good(rejected: Sequence[str]) -> None:
    with OpenAIServer(label_by_number, rejects=rejected) as server:
        judge = judge_at(server, concurrency=4, max_retries=0)
        verdicts = list(judge.judge(items(8)))
        assert [verdict.label for verdict in verdicts] == [list(Label)[place % 3] for place in range(8)]
        calls = server.calls
        assert next(judge.judge(items(1))).label is Label.ACCEPT
        assert server.calls == calls + 1


def test_a_newer_name_of_the_token_limit_is_adopted() -> None:
    trouble = Status(400, message="Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    with refusing(trouble) as server:
        assert one(server).label is Label.REFUSE
        assert "max_completion_tokens" in server.requests[1]
        assert "max_tokens" not in server.requests[1]


def test_another_bad_request_is_unscored_at_once() -> None:
    with refusing(Status(400, message="content policy")) as server:
        assert one(server).unscored_reason == "HTTP 400"
        assert server.calls == 1


def test_a_refused_key_stops_the_batch_and_never_shows_itself() -> None:
    with refusing(api_key="another") as server:
        judge = judge_at(server, concurrency=1)
        verdicts = list(judge.judge(items(10)))
        assert server.calls == 1
    assert all("HTTP 401" in (verdict.unscored_reason or "") for verdict in verdicts)
    assert "[key]" in (verdicts[0].transcript or "")
    for shown in (repr(judge), str(judge), repr(verdicts), judge.digest):
        assert KEY not in shown


def test_a_judge_that_is_down_leaves_verdicts_unscored() -> None:
    with refusing() as server:
        judge = judge_at(server, max_retries=1)
    verdicts = list(judge.judge(items(2)))
    assert all("no connection" in (verdict.unscored_reason or "") for verdict in verdicts)


def test_reasons_hold_neither_the_prompt_nor_the_servers_words() -> None:
    with refusing(Status(400, message="bad text: Two tablets.")) as server:
        assert "tablets" not in (one(server).unscored_reason or "")


def test_the_cap_stops_before_it_is_passed_and_what_was_judged_stays() -> None:
    with OpenAIServer(label_by_number) as server:
        judge = judge_at(server, cap_usd=0.002, concurrency=3)
        verdicts = list(judge.judge(items(40)))
        scored = [verdict for verdict in verdicts if verdict.label]
        assert 5 < len(scored) < 40
        assert server.calls == len(scored)
    assert all("cost cap" in (verdict.unscored_reason or "") for verdict in verdicts if verdict.label is None)
    assert judge.budget.spent_usd == pytest.approx(sum(verdict.cost_usd for verdict in verdicts))
    assert judge.budget.spent_usd <= 0.002


def test_a_cap_that_is_already_spent_asks_nothing() -> None:
    with refusing() as server:
        verdict = one(server, cap_usd=1.0, spent_usd=1.0)
        assert server.calls == 0
    assert "cost cap" in (verdict.unscored_reason or "")


def test_calls_of_unknown_outcome_and_unknown_usage_count_at_their_worst_case() -> None:
    with refusing(Hang(), usage=False) as server:
        judge = judge_at(server, attempt_timeout_s=0.1)
        verdict = next(iter(judge.judge([item("Two tablets.")])))
        (request, _) = server.requests
    sent = len("".join(message["content"] for message in request["messages"]).encode())
    assert verdict.cost_usd >= 2 * sent / 1e6
    assert judge.budget.spent_usd == pytest.approx(verdict.cost_usd)


def test_truncation_reaches_the_verdict() -> None:
    with refusing() as server:
        verdict = next(iter(judge_at(server).judge([item("long " * 2000)])))
    assert verdict.truncated


def test_the_digest_covers_what_can_change_a_verdict_and_nothing_else() -> None:
    with refusing() as server:
        judge = judge_at(server)
        same = [
            judge_at(server, **change) for change in ({"concurrency": 2}, {"api_key": "k"}, {"cap_usd": 1.0})
        ]
        other = [
            judge_at(server, **change)
            for change in (
                {"model": "other", "prices": {}},
                {"base_url": "http://127.0.0.1:1/v1"},
                {"temperature": 0.5},
                {"structured": False},
                {"rubric": replace(RUBRIC, suffix="Answer:")},
            )
        ]
    assert {variant.digest for variant in same} == {judge.digest}
    assert len({variant.digest for variant in (judge, *other)}) == len(other) + 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"api_key": ""}, "API key"),
        ({"cap_usd": 1.0, "prices": {}}, "price"),
        ({"concurrency": 0}, "concurrency"),
    ],
)
def test_a_senseless_configuration_is_refused(change: dict[str, Any], named: str) -> None:
    with OpenAIServer() as server, pytest.raises(ConfigurationError, match=named):
        judge_at(server, **change)


def test_the_fake_serves_models_and_plain_replies() -> None:
    import httpx

    with OpenAIServer(
        lambda request: request["messages"][-1]["content"].upper(), models=["a", "b"]
    ) as server:
        listed = httpx.get(f"{server.base_url}/models").json()
        assert [model["id"] for model in listed["data"]] == ["a", "b"]
        body = {"model": "a", "messages": [{"role": "user", "content": "hello"}]}
        answered = httpx.post(f"{server.base_url}/chat/completions", content=json.dumps(body)).json()
    assert answered["choices"][0]["message"]["content"] == "HELLO"
