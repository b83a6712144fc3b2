"""Packed weights: the same products, of a model that answers, on the processors that gain by them."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from policies.engines import packed_weights
from policies.engines.models import load_base
from policies.engines.packed_weights import most_rows, pack_weights, product

TILES = bool(torch.cpu.get_capabilities().get("amx_bf16")) and not torch.cuda.is_available()
with_tiles = pytest.mark.skipif(not TILES, reason="this processor has no tiles for bf16")


@with_tiles
@pytest.mark.parametrize("rows", [1, 7, 64, 256, 257])
@pytest.mark.parametrize("bias", [False, True])
def test_products_are_those_of_the_plain_layer(rows: int, bias: bool) -> None:
    torch.manual_seed(rows)
    layer = torch.nn.Linear(576, 192, bias=bias, dtype=torch.bfloat16)
    exact = copy.deepcopy(layer).double()
    model = torch.nn.Sequential(layer)
    model.device, model.dtype = torch.device("cpu"), torch.bfloat16  # type: ignore[assignment]
    x = torch.randn(1, rows, 576, dtype=torch.bfloat16)
    with torch.inference_mode():
        plain = layer(x)
        assert pack_weights(model) == 1
        packed = layer(x)
        error = (exact(x.double()) - packed.double()).abs().max()
        assert packed.shape == plain.shape
        assert packed.dtype == torch.bfloat16
        assert error <= 2 * (exact(x.double()) - plain.double()).abs().max()


@with_tiles
def test_a_copy_that_shares_the_weights_shares_what_is_packed_and_answers_alike(tiny_model: Path) -> None:
    model, _ = load_base(tiny_model, dtype="bfloat16", device="cpu")
    ids = torch.arange(5, 11)[None]
    with torch.inference_mode():
        plain = model(ids).logits
        assert pack_weights(model) == sum(type(one) is torch.nn.Linear for one in model.modules())
        shared = {id(tensor): tensor for tensor in model.parameters()}
        twin = copy.deepcopy(model, shared)
        assert torch.equal(twin(ids).logits, model(ids).logits)
        assert torch.allclose(twin(ids).logits, plain, atol=0.05)


@with_tiles
def test_gradients_go_through_the_plain_weights(tiny_model: Path) -> None:
    model, _ = load_base(tiny_model, dtype="bfloat16", device="cpu")
    model.requires_grad_(False)
    pack_weights(model)
    embedded = model.get_input_embeddings()(torch.arange(4)[None]).requires_grad_(True)
    model(inputs_embeds=embedded).logits.float().sum().backward()
    assert embedded.grad is not None
    assert embedded.grad.abs().sum() > 0


CPU = torch.device("cpu")
FEW_ROWS, MANY_ROWS = 64, 1024
ZEN_3 = {"avx2": True, "cpu_name": "AMD EPYC 7B13"}


def a_processor(monkeypatch: pytest.MonkeyPatch, told: dict[str, object]) -> None:
    monkeypatch.setattr(packed_weights.torch.cpu, "get_capabilities", lambda: told)


@pytest.mark.parametrize("rows", [1, 7, 64, 1025])
def test_products_in_fp32_are_those_of_the_plain_layer(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    a_processor(monkeypatch, ZEN_3)
    torch.manual_seed(rows)
    weight, x = torch.randn(960, 576), torch.randn(rows, 576)
    multiply = product(weight, packed=True)
    exact = x.double() @ weight.t().double()  # of about 24 each
    with torch.inference_mode():
        assert (multiply(x).double() - exact).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("told", "dtype", "rows", "gains"),
    [
        ({"amx_bf16": True, "avx512_f": True}, torch.bfloat16, FEW_ROWS, True),
        ({"amx_bf16": True, "avx512_f": True}, torch.bfloat16, MANY_ROWS, False),
        ({"amx_bf16": True, "avx512_f": True}, torch.float32, FEW_ROWS, False),
        ({"avx512_bf16": True, "avx512_f": True}, torch.bfloat16, FEW_ROWS, False),
        (ZEN_3, torch.float32, FEW_ROWS, True),
        (ZEN_3, torch.float32, MANY_ROWS, True),
        (ZEN_3, torch.bfloat16, FEW_ROWS, False),
        ({**ZEN_3, "avx512_f": True}, torch.float32, FEW_ROWS, False),
        ({**ZEN_3, "cpu_name": "Intel(R) Core(TM) i7-8650U"}, torch.float32, FEW_ROWS, False),
    ],
)
def test_it_goes_by_the_kind_of_processor(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, object], dtype: torch.dtype, rows: int, gains: bool
) -> None:
    a_processor(monkeypatch, told)
    assert (rows <= most_rows(CPU, dtype)) is gains


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_where_nothing_is_gained_nothing_is_changed(
    tiny_model: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_processor(monkeypatch, {"avx512_bf16": True})
    model, _ = load_base(tiny_model, dtype=dtype, device="cpu")
    assert pack_weights(model) == 0
    assert not any("forward" in vars(one) for one in model.modules() if type(one) is torch.nn.Linear)
