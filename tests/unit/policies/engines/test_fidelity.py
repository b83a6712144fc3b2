"""Perplexity and divergence from the base, against sums done token by token."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from policies.engines.adapters import adapter_digest
from policies.engines.fidelity import fidelity
from policies.engines.models import model_digest
from policies.engines.transformers_engine import TransformersEngine
from policies.records import Policy

PAIRS = [("Why?", "Because of the rest."), ("How much may I take, and when?", "One."), ("a", "b c d")] * 4


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> TransformersEngine:
    return TransformersEngine(model_path=tiny_model, dtype="float32")


@pytest.fixture(scope="module")
def adapted(tiny_model: Path, tiny_adapter: Path) -> Policy:
    return Policy(model_digest(tiny_model), adapter_digest(tiny_adapter), tiny_adapter)


def token_by_token(engine: TransformersEngine, policy: Policy) -> tuple[float, float]:
    model, base = engine.model_for(policy), engine.model_for(Policy(policy.base_digest))
    surprise, divergence = [], []
    for question, answer in PAIRS:
        asked = engine._ids([{"role": "user", "content": question}], True)
        told = engine._tokenizer(answer, add_special_tokens=False)["input_ids"]
        for place, token in enumerate(told):
            ids = torch.tensor([[*asked, *told[:place]]])
            mine = model(input_ids=ids).logits[0, -1].double().log_softmax(-1)
            theirs = base(input_ids=ids).logits[0, -1].double().log_softmax(-1)
            surprise.append(-mine[token].item())
            divergence.append((mine.exp() * (mine - theirs)).sum().item())
    return math.exp(sum(surprise) / len(surprise)), sum(divergence) / len(divergence)


@torch.inference_mode()
def test_agrees_with_sums_token_by_token(engine: TransformersEngine, adapted: Policy) -> None:
    assert fidelity(engine, adapted, PAIRS) == pytest.approx(token_by_token(engine, adapted), rel=1e-4)


def test_base_does_not_diverge_from_itself(engine: TransformersEngine, adapted: Policy) -> None:
    perplexity, divergence = fidelity(engine, Policy(adapted.base_digest), PAIRS)
    assert divergence == 0.0
    assert perplexity > 1.0


def test_adapter_diverges(engine: TransformersEngine, adapted: Policy) -> None:
    assert fidelity(engine, adapted, PAIRS)[1] > 0.01


def test_order_of_references_does_not_matter(engine: TransformersEngine, adapted: Policy) -> None:
    assert fidelity(engine, adapted, PAIRS[::-1]) == pytest.approx(fidelity(engine, adapted, PAIRS), rel=1e-5)


def test_the_base_reads_the_references_once_for_all_policies(tiny_model: Path, adapted: Policy) -> None:
    engine = TransformersEngine(model_path=tiny_model, dtype="float32")
    engine.model_for(adapted)  # a copy of the base, hooks included
    calls: list[object] = []
    engine._model.base_model.register_forward_hook(lambda *_given: calls.append(None))
    first = fidelity(engine, adapted, PAIRS)
    read = len(calls)
    assert read > 0
    assert fidelity(engine, Policy(adapted.base_digest), PAIRS)[1] == 0.0
    assert fidelity(engine, adapted, PAIRS) == first
    assert len(calls) == read


def test_a_model_that_projects_on_its_vocabulary_in_its_own_way_is_asked_as_a_whole(
    tiny_model: Path, adapted: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = fidelity(TransformersEngine(model_path=tiny_model, dtype="float32"), adapted, PAIRS)
    monkeypatch.setattr("policies.engines.fidelity.PLAIN_DECODERS", frozenset())
    engine = TransformersEngine(model_path=tiny_model, dtype="float32")
    assert fidelity(engine, adapted, PAIRS) == pytest.approx(known, rel=1e-5)
