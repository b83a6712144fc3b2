"""LoRA computed our way gives PEFT's numbers, and PEFT's way wherever ours would not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from policies.engines.lora import fuse_lora
from policies.engines.models import load_base


def adapted(tiny_model: Path, *, dtype: str = "float32", **options: Any) -> Any:
    """A PEFT model whose adapters say something: LoRA starts with a product of zero."""
    base, _ = load_base(tiny_model, dtype=dtype, device="cpu")
    torch.manual_seed(0)
    settings = {"r": 4, "lora_alpha": 12, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **options}
    model = get_peft_model(base, LoraConfig(**settings))
    model.add_adapter("other", LoraConfig(**settings | {"r": 2}))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def told(model: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits of two rows, and the gradients of their mean square."""
    model.zero_grad()
    ids = torch.arange(3, 17).reshape(2, 7)
    logits = model(input_ids=ids).logits.float()
    if any(parameter.requires_grad for parameter in model.parameters()):
        logits.square().mean().backward()
    return logits.detach(), {
        name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None
    }


@pytest.mark.parametrize("adapter", ["default", "other"])
def test_numbers_and_gradients_are_those_of_peft(tiny_model: Path, adapter: str) -> None:
    model = adapted(tiny_model)
    model.set_adapter(adapter)
    theirs, gradients = told(model)
    assert fuse_lora(model) == sum("lora_A.default" in name for name, _ in model.named_parameters())
    ours, also = told(model)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert gradients.keys() == also.keys()
    assert all(adapter in name for name in also)
    for name, gradient in gradients.items():
        torch.testing.assert_close(also[name], gradient, atol=1e-5, rtol=1e-3)


def test_numbers_without_gradients_are_those_of_peft(tiny_model: Path) -> None:
    model = adapted(tiny_model)
    ids = torch.arange(3, 17).reshape(2, 7)
    with torch.no_grad():
        theirs = model(input_ids=ids).logits
        assert fuse_lora(model)
        torch.testing.assert_close(model(input_ids=ids).logits, theirs, atol=1e-5, rtol=1e-5)


def test_weights_and_gradients_stay_fp32_over_a_bf16_base(tiny_model: Path) -> None:
    model = adapted(tiny_model, dtype="bfloat16")
    theirs, _ = told(model)
    assert fuse_lora(model)
    ours, gradients = told(model)
    assert {gradient.dtype for gradient in gradients.values()} == {torch.float32}
    assert torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1] > 0.999


def test_switched_off_adapters_leave_the_base(tiny_model: Path) -> None:
    model = adapted(tiny_model)
    with model.disable_adapter():
        base, _ = told(model)
    fuse_lora(model)
    with model.disable_adapter():
        torch.testing.assert_close(told(model)[0], base)
    assert not torch.allclose(told(model)[0], base)


@pytest.mark.parametrize("options", [{"use_dora": True}, {"lora_bias": True}, {"lora_dropout": 0.5}])
def test_what_is_more_than_plain_lora_is_left_to_peft(tiny_model: Path, options: dict[str, Any]) -> None:
    model = adapted(tiny_model, **options)
    torch.manual_seed(1)
    theirs, _ = told(model)
    fuse_lora(model)
    torch.manual_seed(1)
    torch.testing.assert_close(told(model)[0], theirs, atol=0, rtol=0)
