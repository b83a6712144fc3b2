"""A model with an adapter on top, for answering: nothing of the base changes under it, whatever its type."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from policies.engines import packed_weights
from policies.engines.models import bare_model, load_base, with_adapter
from policies.engines.packed_weights import pack_weights
from tests.tiny import make_tiny_adapter


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_positions_are_those_of_the_base(tiny_model: Path, tmp_path: Path, dtype: str) -> None:
    """Their frequencies are fp32 in a bf16 model as well: rounded, far tokens would stand elsewhere."""
    base, _ = load_base(tiny_model, dtype=dtype, device="cpu")
    frequencies = base.model.rotary_emb.inv_freq.clone()
    adapted = with_adapter(base, make_tiny_adapter(tiny_model, tmp_path, scale=0.0))
    assert torch.equal(bare_model(adapted).model.rotary_emb.inv_freq, frequencies)
    assert {value.dtype for value in adapted.parameters()} == {getattr(torch, dtype)}


def test_an_adapter_that_adds_nothing_says_what_the_base_says(tiny_model: Path, tmp_path: Path) -> None:
    """A few hundred places on, too, where rounded frequencies would change a logit by a half."""
    base, _ = load_base(tiny_model, dtype="float32", device="cpu")
    ids = torch.arange(700)[None] % 300 + 5
    with torch.inference_mode():
        told = base(input_ids=ids).logits
        adapted = with_adapter(base, make_tiny_adapter(tiny_model, tmp_path, scale=0.0))
        torch.testing.assert_close(adapted(input_ids=ids).logits, told, atol=1e-3, rtol=1e-3)


def test_the_base_keeps_its_own_type_where_an_adapter_comes_in_another(
    tiny_model: Path, tiny_adapter: Path
) -> None:
    base, _ = load_base(tiny_model, dtype="bfloat16", device="cpu")
    base.model.norm.float()  # as models do that keep some weights in fp32
    with_adapter(base, tiny_adapter)
    assert base.model.norm.weight.dtype == torch.float32


@pytest.mark.parametrize("packs", [False, True])
def test_a_layer_that_an_adapter_replaces_is_the_adapters_own(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packs: bool
) -> None:
    monkeypatch.setattr(packed_weights, "most_rows", lambda *_: 10_000 if packs else 0)
    base, _ = load_base(tiny_model, dtype="float32", device="cpu")
    given = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"], task_type="CAUSAL_LM")
    made = get_peft_model(base, given)
    ids = torch.arange(20)[None] + 5
    with torch.no_grad():
        made.get_output_embeddings().modules_to_save["default"].weight.mul_(-2.0)
        wanted = made(input_ids=ids).logits
    made.save_pretrained(tmp_path)
    base, _ = load_base(tiny_model, dtype="float32", device="cpu")
    base.requires_grad_(False)
    assert bool(pack_weights(base)) is packs
    with torch.inference_mode():
        torch.testing.assert_close(with_adapter(base, tmp_path)(input_ids=ids).logits, wanted)
