"""A layer written out is the layer: held against transformers' and PEFT's own, by autograd, row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from policies.engines.models import load_base, plain_attention
from policies.training import shared_prefixes
from policies.training.shared_prefixes import share_prefixes
from tests.unit.policies.training.test_shared_prefixes import batch_of, hidden

PAIRS = [(7, 2, 9), (3, 8, 1), (11, 1, 1)]


def adapted(folder: Path, *, ours: bool, dtype: str = "float32", **options: Any) -> Any:
    """A PEFT model whose adapters have something to say; `ours`: in packed batches, by layers written out."""
    model, _ = load_base(folder, dtype=dtype, device="cpu")
    plain_attention(model)
    assert not ours or share_prefixes(model)
    lora = LoraConfig(**{"r": 4, "lora_alpha": 12, "target_modules": "all-linear", **options})
    told = get_peft_model(model, lora)
    speak(told, "default")
    return told


def speak(model: Any, adapter: str, seed: int = 5) -> None:
    """Give `adapter` matrices that change something."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.named_parameters():
        if "lora_" in name and f".{adapter}." in name:
            value.data = torch.randn(value.shape, generator=generator) * 0.2


def gradients(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    hidden(model.get_base_model(), ids, mask).float().pow(3).sum().backward()
    return {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


def none_is_left(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Calls of transformers' own layer from here on."""
    calls: list[int] = []
    theirs = LlamaDecoderLayer.forward

    def counted(self: Any, *args: Any, **given: Any) -> Any:
        calls.append(1)
        return theirs(self, *args, **given)

    monkeypatch.setattr(LlamaDecoderLayer, "forward", counted)
    return calls


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype, name
        torch.testing.assert_close(ours[name], value, atol=1e-4 * value.abs().max().item(), rtol=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"exclude_modules": r".*layers\.0\..*"},  # a layer without adapters below
        {"target_modules": ["v_proj", "up_proj"]},  # layers with some
        {"target_modules": ["o_proj", "down_proj"], "rank_pattern": {"o_proj": 2}},
    ],
)
@pytest.mark.parametrize("step", [1, 32])
def test_what_is_said_and_every_gradient_are_those_of_the_layer(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], step: int
) -> None:
    monkeypatch.setattr(shared_prefixes, "shape_step", lambda *_: step)  # with it, rows are padded
    ids, mask = batch_of(PAIRS, system=4)
    theirs = adapted(tiny_model, ours=False, **options)
    said, expected = hidden(theirs.get_base_model(), ids, mask), gradients(theirs, ids, mask)
    ours = adapted(tiny_model, ours=True, **options)
    calls = none_is_left(monkeypatch)
    torch.testing.assert_close(hidden(ours.get_base_model(), ids, mask), said, atol=1e-4, rtol=1e-4)
    assert_same(gradients(ours, ids, mask), expected)
    assert not calls


def test_another_adapter_asked_in_between_changes_no_gradient(tiny_model: Path) -> None:
    ids, mask = batch_of(PAIRS)
    expected = gradients(adapted(tiny_model, ours=True), ids, mask)
    model = adapted(tiny_model, ours=True)
    base, _ = load_base(tiny_model, dtype="float32", device="cpu")
    loss = hidden(model.get_base_model(), ids, mask).pow(3).sum()
    with torch.no_grad(), model.disable_adapter():  # as a reference is asked
        told = hidden(model.get_base_model(), ids, mask)
        torch.testing.assert_close(told, hidden(base, ids, mask), atol=1e-4, rtol=1e-4)
    loss.backward()
    assert_same({name: one.grad for name, one in model.named_parameters() if one.grad is not None}, expected)


def test_the_active_one_of_two_adapters_speaks(tiny_model: Path) -> None:
    ids, mask = batch_of(PAIRS)
    told = []
    for ours in (False, True):
        model = adapted(tiny_model, ours=ours)
        model.add_adapter("other", LoraConfig(r=2, lora_alpha=2, target_modules="all-linear"))
        speak(model, "other", seed=6)
        with torch.no_grad():
            for name in ("default", "other"):
                model.set_adapter(name)
                told.append(hidden(model.get_base_model(), ids, mask))
    torch.testing.assert_close(told[2], told[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(told[3], told[1], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(told[0], told[1])


def test_a_step_between_forward_and_back_is_an_error(tiny_model: Path) -> None:
    ids, mask = batch_of(PAIRS)
    model = adapted(tiny_model, ours=True)
    loss = hidden(model.get_base_model(), ids, mask).sum()
    with torch.no_grad():
        next(value for name, value in model.named_parameters() if "lora_B" in name).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_weights_of_the_next_step_are_taken_over(tiny_model: Path) -> None:
    ids, mask = batch_of(PAIRS)
    model = adapted(tiny_model, ours=True)
    with torch.no_grad():
        before = hidden(model.get_base_model(), ids, mask)
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.zero_()
        after = hidden(model.get_base_model(), ids, mask)
        base, _ = load_base(tiny_model, dtype="float32", device="cpu")
        torch.testing.assert_close(after, hidden(base, ids, mask), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(before, after)


@pytest.mark.parametrize("options", [{"use_dora": True}, {"lora_dropout": 0.5}, {"lora_bias": True}])
def test_adapters_that_are_not_plain_are_computed_by_peft(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    model = adapted(tiny_model, ours=True, **options).train()
    calls = none_is_left(monkeypatch)
    assert gradients(model, *batch_of(PAIRS))
    assert calls


def test_a_base_that_is_trained_gets_its_gradients(tiny_model: Path) -> None:
    model, _ = load_base(tiny_model, dtype="float32", device="cpu")
    plain_attention(model)
    assert share_prefixes(model)
    hidden(model, *batch_of(PAIRS)).sum().backward()
    assert model.base_model.layers[0].mlp.up_proj.weight.grad is not None


def test_in_bf16_gradients_are_as_near_to_the_exact_ones_as_autograds(tiny_model: Path) -> None:
    ids, mask = batch_of(PAIRS, system=4)
    exact = gradients(adapted(tiny_model, ours=False), ids, mask)
    off = []
    for ours in (True, False):
        coarse = gradients(adapted(tiny_model, ours=ours, dtype="bfloat16"), ids, mask)
        off.append(sum(((coarse[name] - exact[name]).norm() / exact[name].norm()).item() for name in exact))
    assert off[0] < 1.5 * off[1]
