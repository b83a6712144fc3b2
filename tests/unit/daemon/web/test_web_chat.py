from __future__ import annotations

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import openai
import pytest

from daemon.release.controller import ReleaseState
from daemon.release.router import Route
from daemon.web.app import create_app
from daemon.web.intake import BODY_LIMIT
from daemon.web.serving import WebServer
from policies.digests import short
from policies.records import Policy
from tests.fakes.vllm_server import answer_of

if TYPE_CHECKING:
    from tests.unit.daemon.web.conftest import House

BASE = Policy("b" * 64)


def text_of(response: httpx.Response) -> str:
    return str(response.json()["choices"][0]["message"]["content"])


def until(condition: object) -> None:
    end = time.monotonic() + 30.0
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)


def test_deployed_policy_answers_and_says_who_it_is(house: House) -> None:
    policy = house.policy("one")
    house.controller.reconcile(policy)
    for model in ({}, {"model": "deployed"}, {"model": policy.adapter_name}, {"model": None}):
        response = house.ask(**model)
        assert text_of(response) == answer_of(policy.adapter_path or Path())
        assert response.json()["model"] == policy.adapter_name
        assert response.headers["x-primum-policy"] == short(policy.digest)
    assert house.route.in_flight() == 0


def test_openai_client_reads_answers_and_streams(house: House) -> None:
    house.controller.reconcile(BASE)
    client = openai.OpenAI(base_url=f"{house.server.url}/v1", api_key="any", max_retries=0)
    messages = [{"role": "user", "content": "hello"}]
    whole = client.chat.completions.create(model="deployed", messages=messages)  # type: ignore[call-overload]
    stream = client.chat.completions.create(model="deployed", messages=messages, stream=True)  # type: ignore[call-overload]
    assert whole.choices[0].message.content == "answer of base"
    assert "".join(c.choices[0].delta.content for c in stream).strip() == "answer of base"
    assert [model.id for model in client.models.list()] == ["base", "deployed"]


def test_stream_passes_through_piece_by_piece(house: House) -> None:
    house.controller.reconcile(BASE)
    # Before the request: a fast server has sent a short answer whole by the time its headers are read here.
    house.vllm.hold_after_first_piece()
    body = {"messages": [{"role": "user", "content": "hello"}], "stream": True}
    with house.client.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-primum-policy"] == short(BASE.digest)
        lines = response.iter_lines()
        assert json.loads(next(lines).removeprefix("data: "))["choices"][0]["delta"]["content"] == "answer "
        assert house.route.in_flight("base") == 1
        house.vllm.go()
        assert [line for line in lines if line][-1] == "data: [DONE]"
    until(lambda: house.route.in_flight() == 0)


def test_client_that_leaves_a_stream_is_not_in_flight_for_ever(house: House) -> None:
    house.controller.reconcile(BASE)
    house.vllm.hold()
    body = {"messages": [{"role": "user", "content": "hello"}], "stream": True}
    with pytest.raises(httpx.ReadTimeout):
        house.client.post("/v1/chat/completions", json=body, timeout=0.2)
    house.vllm.go()
    until(lambda: house.route.in_flight() == 0)


def test_switching_under_load_drops_nothing_and_mixes_nothing(house: House) -> None:
    policies = [house.policy(f"weights {number}") for number in range(4)]
    marks = {short(policy.digest): answer_of(policy.adapter_path or Path())[-8:] for policy in policies}
    house.controller.reconcile(policies[0])
    stop = threading.Event()

    def ask_on(worker: int) -> list[tuple[int, str, str]]:
        seen = []
        with httpx.Client(base_url=house.server.url, timeout=10.0) as client:
            while not stop.is_set():
                text = f"worker {worker} asks {len(seen)}"
                body = {"messages": [{"role": "user", "content": text}], "stream": len(seen) % 3 == 0}
                response = client.post("/v1/chat/completions", json=body)
                seen.append((response.status_code, response.headers["x-primum-policy"], response.text))
        return seen

    with ThreadPoolExecutor(6) as pool:
        workers = [pool.submit(ask_on, number) for number in range(6)]
        try:
            for policy in [*policies[1:], policies[0]]:
                status = house.controller.reconcile(policy)
                assert (status.state, len(status.unloaded)) == (ReleaseState.RELEASED, 1)
                asked = len(house.vllm.asked)
                until(lambda asked=asked: len(house.vllm.asked) > asked + 12)
        finally:
            stop.set()
        seen = [request for worker in workers for request in worker.result()]
    assert {status for status, _, _ in seen} == {200}
    assert {policy for _, policy, _ in seen} == set(marks)
    for _, policy, text in seen:
        assert [policy] == [name for name, mark in marks.items() if mark in text]
    assert house.vllm.names == {"base", policies[0].adapter_name}


def test_request_begun_before_a_switch_is_answered_by_the_old_policy(house: House) -> None:
    old, new = house.policy("old"), house.policy("new")
    house.controller.reconcile(old)
    house.vllm.hold()
    with ThreadPoolExecutor(2) as pool:
        early = pool.submit(house.ask, "early")
        until(lambda: house.route.in_flight(str(old.adapter_name)) == 1)
        until(lambda: house.vllm.asked.count(str(old.adapter_name)) == 2)  # the probe and this
        release = pool.submit(house.controller.reconcile, new)
        until(lambda: new.adapter_name in house.vllm.asked)
        house.vllm.go()
        assert release.result().unloaded == (old.adapter_name,)
        assert text_of(early.result()) == answer_of(old.adapter_path or Path())
    assert text_of(house.ask("late")) == answer_of(new.adapter_path or Path())


def test_sampling_left_open_is_greedy_and_what_is_asked_for_passes(house: House) -> None:
    house.controller.reconcile(BASE)
    house.ask()
    house.ask(temperature=0.7, seed=5, user="somebody", top_p=None)
    plain, asked = house.vllm.bodies[-2:]
    assert plain["temperature"] == 0.0
    assert (asked["temperature"], asked["seed"]) == (0.7, 5)
    assert "user" not in asked
    assert "top_p" not in asked


@pytest.mark.parametrize("model", ["gpt-4o", "base", "primum-0000000000000000"])
def test_other_models_are_404(house: House, model: str) -> None:
    house.controller.reconcile(house.policy("one"))
    response = house.ask(model=model)
    assert (response.status_code, response.json()["error"]["type"]) == (404, "model_not_found")
    assert house.route.in_flight() == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"[" * 100_000, 400),
        (b"\xff\xfe", 400),
        (b'{"messages": []}', 400),
        (b'{"messages": "SECRET"}', 400),
        (b'{"messages": [{"role": "tool", "content": "SECRET"}]}', 400),
        (
            b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "http://x"}]}]}',
            400,
        ),
        (b'{"messages": [{"role": "user", "content": "SECRET"}], "chat_template": "{{ SECRET }}"}', 400),
        (b'{"messages": [{"role": "user", "content": "SECRET"}], "temperature": NaN}', 400),
        (b'{"messages": [{"role": "user", "content": "SECRET \\ud800"}]}', 400),
        (b'{"messages": [' + b"0," * 500_000 + b"0]}", 400),
        (
            b'{"messages": [{"role": "user", "content": [' + b"0," * 5000 + b"0]}]}",
            400,
        ),
        (b'{"messages": [{"role": "user", "content": "' + b"x" * BODY_LIMIT + b'"}]}', 413),
    ],
)
def test_unfit_bodies_are_refused_and_not_passed_on(house: House, body: bytes, status: int) -> None:
    house.controller.reconcile(BASE)
    before = len(house.vllm.asked)
    response = house.client.post(
        "/v1/chat/completions", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == status
    assert response.json()["error"]["code"] == status
    assert "SECRET" not in response.text
    assert len(house.vllm.asked) == before
    assert house.route.in_flight() == 0


def test_form_posts_of_foreign_pages_are_refused(house: House) -> None:
    house.controller.reconcile(BASE)
    body = json.dumps({"messages": [{"role": "user", "content": "hello"}]})
    response = house.client.post("/v1/chat/completions", content=body, headers={"content-type": "text/plain"})
    assert response.status_code == 415


def test_without_a_release_there_is_no_answer(house: House) -> None:
    response = house.ask()
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"


def test_adapter_lost_by_a_restart_is_503_until_reconciled(house: House) -> None:
    policy = house.policy("one")
    house.controller.reconcile(policy)
    house.vllm.restart()
    assert house.ask().status_code == 503
    house.controller.reconcile(policy)
    assert text_of(house.ask()) == answer_of(policy.adapter_path or Path())


def test_failing_upstream_is_passed_on_and_nothing_stays_in_flight(house: House) -> None:
    house.controller.reconcile(BASE)
    house.vllm.failing.add("base")
    assert house.ask().status_code == 500
    assert house.ask(stream=True).status_code == 500
    assert house.route.in_flight() == 0


@pytest.mark.parametrize(("url", "status"), [("http://127.0.0.1:9", 502), (None, 503)])
def test_unreachable_upstream_is_an_error_in_openai_shape(house: House, url: str | None, status: int) -> None:
    house.controller.reconcile(BASE)
    app = create_app(
        route=house.route, upstream_url=lambda: url, status=dict, metrics=bytes, ready=lambda: True
    )
    server = WebServer(app).start()
    body = {"messages": [{"role": "user", "content": "hello"}]}
    response = httpx.post(f"{server.url}/v1/chat/completions", json=body)
    server.stop()
    assert response.status_code == status
    assert response.json()["error"]["code"] == status
    assert house.route.in_flight() == 0


def test_prompts_and_answers_are_not_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="daemon")
    caplog.set_level(logging.DEBUG, logger="uvicorn")
    house.controller.reconcile(BASE)
    house.ask("SECRET question")
    house.vllm.failing.add("base")
    house.ask("SECRET question")
    assert "SECRET" not in caplog.text
    assert "answer of" not in caplog.text


def test_models_are_empty_without_a_release() -> None:
    app = create_app(
        route=Route(), upstream_url="http://127.0.0.1:9", status=dict, metrics=bytes, ready=lambda: True
    )
    server = WebServer(app).start()
    assert httpx.get(f"{server.url}/v1/models").json()["data"] == []
    server.stop()
