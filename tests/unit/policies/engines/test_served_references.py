"""Fidelity over HTTP: the same figures as in process, or None and a warning that names what is missing."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.engines.adapters import adapter_digest
from policies.engines.openai_server import OpenAIEngine
from policies.engines.retries import Backoff
from policies.errors import EngineError
from policies.records import Policy
from tests.fakes.openai_server import OpenAIServer
from tests.fakes.vllm_server import FakeVllm, write_adapter

BASE = Policy("b" * 64)
PAIRS = [("How much may I take?", "One a day."), ("A secret of a patient?", "Ask at once."), ("Why?", "b")]


async def no_sleep(_seconds: float) -> None:
    """Nothing waits in a test."""


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    folder = write_adapter(tmp_path / "a", "weights a")
    return Policy(BASE.base_digest, adapter_digest(folder), folder)


def engine_at(url: str, **changes: object) -> OpenAIEngine:
    settings: dict = {"base_digest": BASE.base_digest, "max_retries": 1, "backoff": Backoff(base_s=0.01)}
    return OpenAIEngine(url, None, "base", sleep=no_sleep, **(settings | changes))


@pytest.fixture
def vllm() -> Iterator[FakeVllm]:
    with FakeVllm() as made:
        yield made


def by_hand(vllm: FakeVllm, name: str) -> tuple[float, float]:
    """(perplexity, KL to the base) summed over the whole vocabulary, as in-process fidelity does."""
    surprise, apart = [], []
    for question, answer in PAIRS:
        before = vllm.asked_tokens([{"content": question}])[-1]
        for token in vllm.tokens(answer):
            mine, theirs = vllm.log_probabilities(name, before), vllm.log_probabilities("base", before)
            surprise.append(-mine[token])
            apart.append(sum(math.exp(p) * (p - q) for p, q in zip(mine, theirs, strict=True)))
            before = token
    return math.exp(sum(surprise) / len(surprise)), sum(apart) / len(apart)


def test_perplexity_is_exact_and_divergence_just_below(vllm: FakeVllm, policy: Policy) -> None:
    engine = engine_at(vllm.url)
    found = engine.fidelity(policy, PAIRS)
    engine.close()
    assert found is not None
    perplexity, apart = by_hand(vllm, str(policy.adapter_name))
    assert found[0] == pytest.approx(perplexity)
    assert 0.8 * apart < found[1] <= apart
    assert vllm.told.count("base") == len(PAIRS)


def test_divergence_is_exact_where_all_tokens_are_told(policy: Policy) -> None:
    with FakeVllm(vocabulary=20) as vllm:
        engine = engine_at(vllm.url)
        found = engine.fidelity(policy, PAIRS)
        engine.close()
        assert found == pytest.approx(by_hand(vllm, str(policy.adapter_name)))


def test_base_is_asked_once_and_does_not_diverge_from_itself(vllm: FakeVllm, policy: Policy) -> None:
    engine = engine_at(vllm.url)
    first = engine.fidelity(BASE, PAIRS)
    engine.fidelity(policy, PAIRS)
    assert engine.fidelity(BASE, PAIRS) == first == (pytest.approx(by_hand(vllm, "base")[0]), 0.0)
    assert vllm.told.count("base") == len(PAIRS)
    assert engine.fidelity(policy, []) is None
    engine.close()


def test_adapter_lost_by_a_restart_is_loaded_again(vllm: FakeVllm, policy: Policy) -> None:
    engine = engine_at(vllm.url, concurrency=1)
    first = engine.fidelity(policy, PAIRS)
    vllm.forget()
    assert engine.fidelity(policy, PAIRS) == first
    assert vllm.calls == [("load", policy.adapter_name)] * 2
    engine.close()


@pytest.mark.parametrize(
    ("lacking", "named"),
    [
        ({"tokenizes": False}, "POST /tokenize"),
        ({"max_logprobs": 5}, "--max-logprobs 20"),
        ({"max_logprobs": None}, "no prompt_logprobs"),
        ({"shift": 4.0}, "--logprobs-mode raw_logprobs"),
    ],
)
def test_what_a_server_lacks_is_named_in_a_warning(
    lacking: dict, named: str, policy: Policy, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeVllm(**lacking) as vllm, caplog.at_level(logging.WARNING):
        engine = engine_at(vllm.url)
        assert engine.fidelity(policy, PAIRS) is None
        engine.close()
    assert named in caplog.text
    assert "secret" not in caplog.text, "neither prompts nor the server's words are logged"


def test_server_of_another_make_leaves_it_unmeasured(caplog: pytest.LogCaptureFixture) -> None:
    with OpenAIServer(models=["base"]) as server:
        engine = engine_at(server.base_url)
        assert engine.fidelity(BASE, PAIRS) is None
        engine.close()
    assert "POST /tokenize is not served (HTTP 404" in caplog.text


def test_server_that_is_away_is_an_error_and_no_verdict_on_its_abilities() -> None:
    engine = engine_at("http://127.0.0.1:9")
    with pytest.raises(EngineError, match="ConnectError"):
        engine.fidelity(BASE, PAIRS)
    engine.close()
