from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import httpx
import openai
import pytest

from daemon.web.serving import WebServer
from policies.engines.adapters import adapter_digest
from policies.engines.chat_app import create_app
from policies.records import Policy
from tests.fakes.chat_engine import FakeChatEngine
from tests.fakes.vllm_server import write_adapter

KEY = "sk-of-the-test"


@pytest.fixture
def engine() -> FakeChatEngine:
    return FakeChatEngine()


@pytest.fixture
def adapters_dir(tmp_path: Path) -> Path:
    write_adapter(tmp_path / "adapters" / "one", "weights one")
    write_adapter(tmp_path / "elsewhere", "weights elsewhere")
    return tmp_path / "adapters"


@pytest.fixture
def client(engine: FakeChatEngine, adapters_dir: Path) -> Iterator[httpx.Client]:
    app = create_app(engine, adapters_dir=adapters_dir, api_key=KEY, max_prompt_chars=1000, capacity=4)
    server = WebServer(app).start()
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=10) as made:
        yield made
    engine.gate.set()
    server.stop()
    app.state.batcher.close()


def ask(text: str = "hello", **fields: object) -> dict[str, object]:
    return {"model": "base", "messages": [{"role": "user", "content": text}], **fields}


def test_answer_has_openai_shape(client: httpx.Client) -> None:
    openai_client = openai.OpenAI(base_url=f"{client.base_url}/v1", api_key=KEY, max_retries=0)
    answer = openai_client.chat.completions.create(
        model="base", messages=[{"role": "user", "content": "hello"}], max_tokens=4, seed=1
    )
    assert answer.choices[0].message.content == "base: hello"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 8


def test_stream_is_read_by_the_openai_client(client: httpx.Client) -> None:
    openai_client = openai.OpenAI(base_url=f"{client.base_url}/v1", api_key=KEY, max_retries=0)
    chunks = list(
        openai_client.chat.completions.create(
            model="base",
            messages=[{"role": "user", "content": "hello"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "base: hello"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3


def test_stream_ends_with_done(client: httpx.Client) -> None:
    response = client.post("/v1/chat/completions", json=ask(stream=True))
    events = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert events[-1] == "[DONE]"
    assert [json.loads(event)["choices"][0]["finish_reason"] for event in events[:-1]] == [None, "stop"]


def test_text_parts_are_joined(client: httpx.Client) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    body = {"model": "base", "messages": [{"role": "user", "content": parts}]}
    answer = client.post("/v1/chat/completions", json=body).json()
    assert answer["choices"][0]["message"]["content"] == "base: ab"


def test_seed_reaches_the_engine_and_unseeded_requests_differ(
    client: httpx.Client, engine: FakeChatEngine
) -> None:
    for fields in ({"seed": 7}, {}, {}):
        assert client.post("/v1/chat/completions", json=ask(**fields)).is_success
    assert engine.seeds[0] == 7
    assert len(set(engine.seeds)) == 3


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "hello"}]}, "messages.0.role"),
        ({"temperature": -1}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 100_000}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"messages": [{"role": "user", "content": "SECRET" * 200}]}, "messages"),
    ],
)
def test_bad_request_is_400_and_repeats_nothing(
    client: httpx.Client, fields: dict[str, object], param: str
) -> None:
    response = client.post("/v1/chat/completions", json=ask("SECRET", **fields))
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert "SECRET" not in response.text


def test_what_the_engine_cannot_take_is_the_askers_own_error(client: httpx.Client) -> None:
    response = client.post("/v1/chat/completions", json=ask("too long"))
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "messages"


def test_unknown_model_is_404_in_openai_shape(client: httpx.Client) -> None:
    response = client.post("/v1/chat/completions", json=ask(model="gpt"))
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "NotFoundError"


def test_engine_failure_is_500_without_the_prompt(client: httpx.Client) -> None:
    response = client.post("/v1/chat/completions", json=ask("break"))
    assert response.status_code == 500
    assert response.json()["error"]["message"] == "the engine failed with RuntimeError"


def test_full_queue_is_503_with_retry_after(client: httpx.Client, engine: FakeChatEngine) -> None:
    engine.gate.clear()
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(client.post, "/v1/chat/completions", json=ask("first"))
        assert engine.busy.wait(30.0)
        more = [pool.submit(client.post, "/v1/chat/completions", json=ask(str(n))) for n in range(5)]
        refused = next(as_completed(more, timeout=30.0)).result()
        engine.gate.set()
        statuses = sorted(future.result().status_code for future in [first, *more])
    assert refused.headers["retry-after"] == "1"
    assert statuses == [200] * 5 + [503]


def test_adapter_is_loaded_answers_and_is_unloaded(
    client: httpx.Client, engine: FakeChatEngine, adapters_dir: Path
) -> None:
    policy = Policy(engine.base_digest, adapter_digest(adapters_dir / "one"))
    load = {"lora_name": "mine", "lora_path": str(adapters_dir / "one")}
    assert client.post("/v1/load_lora_adapter", json=load).is_success
    card = client.get("/v1/models").json()["data"][1]
    assert (card["id"], card["parent"], card["root"]) == ("mine", "base", load["lora_path"])
    answer = client.post("/v1/chat/completions", json=ask(model="mine")).json()
    assert answer["model"] == "mine"
    assert answer["choices"][0]["message"]["content"] == f"{policy.adapter_name}: hello"
    again = client.post("/v1/load_lora_adapter", json=load)
    assert (again.status_code, again.json()["error"]["type"]) == (400, "InvalidUserInput")
    assert client.post("/v1/unload_lora_adapter", json={"lora_name": "mine"}).is_success
    assert engine.adapters == set()
    assert client.post("/v1/unload_lora_adapter", json={"lora_name": "mine"}).status_code == 404
    assert client.post("/v1/chat/completions", json=ask(model="mine")).status_code == 404


def test_two_names_of_one_adapter_are_unloaded_apart(
    client: httpx.Client, engine: FakeChatEngine, adapters_dir: Path
) -> None:
    for name in ("mine", "yours"):
        load = {"lora_name": name, "lora_path": str(adapters_dir / "one")}
        assert client.post("/v1/load_lora_adapter", json=load).is_success
    client.post("/v1/unload_lora_adapter", json={"lora_name": "mine"})
    assert len(engine.adapters) == 1
    assert client.post("/v1/chat/completions", json=ask(model="yours")).is_success


def test_paths_outside_the_adapters_folder_are_refused(client: httpx.Client, adapters_dir: Path) -> None:
    (adapters_dir / "link").symlink_to(adapters_dir.parent / "elsewhere")
    for path in (
        adapters_dir.parent / "elsewhere",
        adapters_dir / ".." / "elsewhere",
        adapters_dir / "link",
        adapters_dir,
    ):
        response = client.post("/v1/load_lora_adapter", json={"lora_name": "bad", "lora_path": str(path)})
        assert response.status_code == 400, path
    missing = {"lora_name": "bad", "lora_path": str(adapters_dir / "missing")}
    assert client.post("/v1/load_lora_adapter", json=missing).status_code == 404


def test_folder_with_a_pickle_is_refused(client: httpx.Client, adapters_dir: Path) -> None:
    (adapters_dir / "one" / "adapter_model.bin").write_bytes(b"\x80")
    load = {"lora_name": "bad", "lora_path": str(adapters_dir / "one")}
    response = client.post("/v1/load_lora_adapter", json=load)
    assert response.status_code == 400
    assert "adapter_model.bin" in response.json()["error"]["message"]


def test_in_place_load_is_refused(client: httpx.Client, adapters_dir: Path) -> None:
    load = {"lora_name": "mine", "lora_path": str(adapters_dir / "one"), "load_inplace": True}
    assert client.post("/v1/load_lora_adapter", json=load).status_code == 400


def test_everything_but_health_wants_the_key(client: httpx.Client) -> None:
    stranger = httpx.Client(base_url=client.base_url, headers={"Authorization": "Bearer sk-wrong"})
    assert stranger.get("/health").status_code == 200
    assert stranger.get("/v1/models").status_code == 401
    assert stranger.post("/v1/unload_lora_adapter", json={"lora_name": "x"}).status_code == 401


def test_health_fails_when_the_engine_thread_has_ended(engine: FakeChatEngine) -> None:
    app = create_app(engine)
    server = WebServer(app).start()
    app.state.batcher.close()
    assert httpx.get(f"{server.url}/health").status_code == 503
    server.stop()
