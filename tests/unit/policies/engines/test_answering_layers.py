"""Layers written out for answering say what transformers' and PEFT's own say."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaDecoderLayer

from policies.engines.adapters import adapter_digest
from policies.engines.answering_layers import (
    AnsweringLayer,
    JoinedWeights,
    for_last_tokens,
    write_out_answering,
    written_out,
)
from policies.engines.decoding import cache_for, cache_of
from policies.engines.llama_parts import groups_of
from policies.engines.models import keep_layers, load_base, with_adapter
from policies.engines.packed_weights import pack_weights
from policies.engines.shared_head import attend_to_heads
from policies.engines.transformers_engine import TransformersEngine
from policies.records import Ask, Policy, Prompt, Sampling

IDS = torch.arange(4, 34).view(3, 10)
MASK = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 1, 1], [1] * 10, [0, 1, 1, 1, 1, 1, 1, 1, 1, 1]])


def adapted(folder: Path, *, ours: bool, dtype: str = "float32", **options: Any) -> Any:
    """A model with adapters that have something to say; `ours`: with layers written out."""
    model, _ = load_base(folder, dtype=dtype, device="cpu")
    lora = LoraConfig(**{"r": 4, "lora_alpha": 12, "target_modules": "all-linear", **options})
    told = get_peft_model(model, lora, autocast_adapter_dtype=False).eval()
    generator = torch.Generator().manual_seed(3)
    for name, value in told.named_parameters():
        if "lora_" in name:
            value.data = (torch.randn(value.shape, generator=generator) * 0.2).to(value.dtype)
    if ours:
        assert write_out_answering(told.get_base_model()) == len(told.get_base_model().model.layers)
    return told


def frozen(folder: Path) -> Any:
    model, _ = load_base(folder, dtype="float32", device="cpu")
    return model.requires_grad_(False)


@pytest.fixture
def theirs_called(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Calls of transformers' own layers from here on."""
    calls: list[int] = []
    for kind in (LlamaDecoderLayer, LlamaAttention):
        monkeypatch.setattr(kind, "forward", _counted(kind.forward, calls))
    return calls


def _counted(theirs: Any, calls: list[int]) -> Any:
    def forward(self: Any, *args: Any, **given: Any) -> Any:
        calls.append(1)
        return theirs(self, *args, **given)

    return forward


@torch.inference_mode()
def said(model: Any) -> list[torch.Tensor]:
    """Logits of a padded batch, of two more tokens by its cache, and of the batch without a cache."""
    first = model(input_ids=IDS, attention_mask=MASK, use_cache=True)
    more = torch.cat((MASK, torch.ones(3, 2, dtype=torch.long)), 1)
    second = model(input_ids=IDS[:, :2], attention_mask=more, past_key_values=first.past_key_values)
    plain = model(input_ids=IDS, attention_mask=MASK, use_cache=False)
    return [one.logits[:, -1] for one in (first, second, plain)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"exclude_modules": r".*layers\.0\..*"},
        {"target_modules": ["v_proj", "up_proj"]},
        {"target_modules": ["q_proj", "k_proj", "gate_proj"], "rank_pattern": {"k_proj": 2}},
        {"alpha_pattern": {"up_proj": 5}},
    ],
)
@pytest.mark.parametrize(
    ("attention", "few"), [("sdpa", 256), ("eager", 256), ("shared heads", 256), ("sdpa", 0)]
)
def test_what_is_said_is_what_the_layers_say(
    tiny_model: Path,
    theirs_called: list[int],
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    attention: str,
    few: int,
) -> None:
    monkeypatch.setattr("policies.engines.answering_layers._FEW_ROWS", few)
    theirs, ours = (adapted(tiny_model, ours=mine, **options) for mine in (False, True))
    for model in (theirs, ours):
        if attention == "shared heads":
            assert attend_to_heads(model.get_base_model())
        else:
            model.get_base_model().set_attn_implementation(attention)
    expected = said(theirs)
    assert theirs_called
    theirs_called.clear()
    for mine, plain in zip(said(ours), expected, strict=True):
        torch.testing.assert_close(mine, plain, atol=1e-4, rtol=1e-4)
    assert not theirs_called


@pytest.mark.parametrize("attention", ["sdpa", "eager", "shared heads"])
@pytest.mark.parametrize("shared", [0, 3])
def test_the_last_layer_alone_may_tell_of_last_tokens_alone(
    tiny_model: Path, attention: str, shared: int
) -> None:
    model = adapted(tiny_model, ours=True).get_base_model()
    if attention == "shared heads":
        assert attend_to_heads(model)
    else:
        model.set_attn_implementation(attention)
    decoder, shapes = model.model, []
    with torch.inference_mode():
        head = IDS[:1, :shared]
        whole_mask = torch.cat((torch.ones(3, shared, dtype=torch.long), MASK), 1)
        told = []
        for given in ({}, for_last_tokens(decoder)):
            cache = cache_of(model, head[0].tolist(), "cpu") if shared else None
            held = cache_for(cache, 3, room=20, shares=attention == "shared heads") if shared else None
            states = decoder(
                input_ids=IDS,
                attention_mask=whole_mask,
                position_ids=(whole_mask.cumsum(-1) - 1).clamp_min(0)[:, shared:],
                past_key_values=held,
                use_cache=held is not None,
                **given,
            ).last_hidden_state
            shapes.append(states.shape[1])
            told.append(states[:, -1])
    assert shapes == [10, 1]
    torch.testing.assert_close(told[1], told[0], atol=1e-5, rtol=1e-5)


def test_layers_that_are_not_written_out_are_asked_for_all_tokens(tiny_model: Path) -> None:
    model = frozen(tiny_model)
    assert for_last_tokens(model.model) == {}
    write_out_answering(model)
    keep_layers(model, 1)
    assert for_last_tokens(model.model) == {"last_alone": model.model.layers[0].forward}, "the last one left"


def test_bf16_is_as_near_to_fp32_as_the_layers_own(tiny_model: Path) -> None:
    exact = said(adapted(tiny_model, ours=False))
    theirs = said(adapted(tiny_model, ours=False, dtype="bfloat16"))
    ours = said(adapted(tiny_model, ours=True, dtype="bfloat16"))

    def off(told: list[torch.Tensor]) -> float:
        return sum(
            (one.float() - right).square().mean().item() for one, right in zip(told, exact, strict=True)
        )

    assert 0 < off(ours) <= 1.5 * off(theirs)


def test_weights_are_views_that_copies_share_and_take_no_memory_twice(
    tiny_model: Path, tiny_adapter: Path
) -> None:
    plain = frozen(tiny_model)
    model = frozen(tiny_model)
    count = len(model.model.layers)
    assert write_out_answering(model) == count
    for mine, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    attention = model.model.layers[0].self_attn
    assert (
        attention.k_proj.weight.untyped_storage().data_ptr()
        == attention.q_proj.weight.untyped_storage().data_ptr()
    )
    before = said(model)
    shared = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
    places = [one.data_ptr() for one in model.parameters()]
    JoinedWeights(groups_of(model.model.layers[0])[0], packed=False)
    assert [one.data_ptr() for one in model.parameters()] == places, "what is joined is not joined anew"
    with_one = with_adapter(copy.deepcopy(model, shared), tiny_adapter)
    layers = with_one.get_base_model().model.layers
    for mine, other in zip(model.model.layers, layers, strict=True):
        assert isinstance(other.forward, AnsweringLayer)
        assert other.forward is not mine.forward
        assert all(a is b for a, b in zip(other.forward.weights, mine.forward.weights, strict=True))
    assert not torch.equal(said(with_one)[0], before[0]), "the copy speaks by its adapter"
    assert all(map(torch.equal, said(model), before)), "the base stays the base"


@pytest.mark.parametrize("options", [{"use_dora": True}, {"bias": "all"}])
def test_what_is_not_told_here_is_left_to_the_modules(
    tiny_model: Path, options: dict[str, Any], theirs_called: list[int]
) -> None:
    model = frozen(tiny_model)
    write_out_answering(model)
    if "bias" in options:
        for layer in model.model.layers:
            layer.mlp.up_proj.bias = torch.nn.Parameter(torch.ones(layer.mlp.up_proj.out_features))
    else:
        model = get_peft_model(
            model, LoraConfig(r=2, target_modules="all-linear", **options)
        ).get_base_model()
    assert write_out_answering(model) == 0
    said(model)
    assert theirs_called


def test_with_gradients_it_is_the_layer_itself(tiny_model: Path, theirs_called: list[int]) -> None:
    model = frozen(tiny_model)
    write_out_answering(model)
    embedded = model.get_input_embeddings()(IDS).requires_grad_(True)
    model(inputs_embeds=embedded).logits.sum().backward()
    assert embedded.grad is not None
    assert embedded.grad.abs().sum() > 0
    assert theirs_called


def test_weights_that_are_trained_are_left(tiny_model: Path) -> None:
    model, _ = load_base(tiny_model, dtype="float32", device="cpu")
    assert write_out_answering(model) == 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_being_trained_answers_by_its_adapters_as_they_are(
    tiny_model: Path, theirs_called: list[int], dtype: str
) -> None:
    """Adapters are fp32 there, whatever the base is."""
    model, _ = load_base(tiny_model, dtype=dtype, device="cpu")
    model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear")).eval()
    bare = model.get_base_model()
    before = [vars(layer).get("forward") for layer in bare.model.layers]
    tolerance = 1e-4 if dtype == "float32" else 0.2
    for seed in (3, 4):
        generator = torch.Generator().manual_seed(seed)
        for name, value in model.named_parameters():
            if "lora_" in name:
                value.data = torch.randn(value.shape, generator=generator) * 0.2
        expected = said(model)
        theirs_called.clear()
        with written_out(bare):
            told = said(bare)
        assert not theirs_called
        for mine, theirs in zip(told, expected, strict=True):
            torch.testing.assert_close(mine, theirs, atol=tolerance, rtol=tolerance)
    assert [vars(layer).get("forward") for layer in bare.model.layers] == before
    assert all(value.requires_grad for name, value in model.named_parameters() if "lora_" in name)


def test_a_judge_of_fewer_layers_is_written_out_too(tiny_model: Path, theirs_called: list[int]) -> None:
    plain = frozen(tiny_model)
    ours = frozen(tiny_model)
    for model in (plain, ours):
        keep_layers(model, 1)
    assert write_out_answering(ours) == 1
    expected = said(plain)
    theirs_called.clear()
    for mine, theirs in zip(said(ours), expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
    assert not theirs_called


def test_the_engine_answers_by_them_alone(
    tiny_model: Path, tiny_adapter: Path, theirs_called: list[int]
) -> None:
    engine = TransformersEngine(model_path=tiny_model, dtype="float32", share_heads=True)
    asks = [
        Ask(Prompt(f"question {n}?", 0, f"question {n}?"), Sampling(5, temperature, 5), n)
        for n in range(4)
        for temperature in (0.0, 1.0)
    ]
    adapted = Policy(engine.base_digest, adapter_digest(tiny_adapter), tiny_adapter)
    policies = (Policy(engine.base_digest), adapted)
    for policy in policies:
        assert len(list(engine.generate(policy, asks))) == len(asks)
    assert not theirs_called


def test_packing_leaves_what_is_written_out(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[torch.Size] = []
    for module in ("packed_weights", "answering_layers"):  # whatever this processor gains
        monkeypatch.setattr(f"policies.engines.{module}.most_rows", lambda *_: 256)
    monkeypatch.setattr(
        "policies.engines.packed_weights._forward",
        lambda weight, _: packed.append(weight.shape) or (lambda x: torch.nn.functional.linear(x, weight)),
    )
    model = frozen(tiny_model)
    plain = said(model)
    layers = write_out_answering(model, packed=True)
    assert len(packed) == 4 * layers, "a product for each of a layer's inputs"
    assert pack_weights(model) == 1, "the vocabulary's"
    for mine, theirs in zip(said(model), plain, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
