"""Weights kept in the order in which a processor's kernels read them.

On a CPU with AMX a product of few rows spends as long on bringing the weight's rows into the tiles' order as
on multiplying, and every token of an answer brings them anew. Here layers keep a second copy in that order,
which products of few rows read. Those of many rows read the plain one: nothing would be gained for them.
On AMD's processors with AVX2 alone it is MKL's kernel that is slower than oneDNN's, which wants that order:
there products of any number of rows read it. Judges keep no such copy: it would save them a twelfth of their
time, and take as much memory as they have.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import linear

_PLANNED_ROWS = 64  # what the order is chosen for
_MOST_ROWS = 256  # that gain on tiles; at 370 both ways took as long


def pack_weights(model: Any) -> int:
    """Let the linear layers of `model`, which is not trained, read packed weights; how many those are.

    None where nothing is gained (`most_rows`). As many bytes as the weights have are taken once more. Layers
    that are written out (policies.engines.answering_layers) make their own.
    """
    if not most_rows(model.device, model.dtype):
        return 0
    written = {
        id(module) for layer in model.modules() if "forward" in layer.__dict__ for module in layer.modules()
    }
    layers: list[Any] = [
        layer for layer in model.modules() if type(layer) is torch.nn.Linear and id(layer) not in written
    ]
    for layer in layers:
        layer.forward = _forward(layer.weight.detach(), layer.bias)
    return len(layers)


def product(weight: torch.Tensor, *, packed: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """x (T, ins) → x times `weight` (outs, ins), transposed; with `packed` as `pack_weights` has it, where
    anything is gained."""
    if packed and most_rows(weight.device, weight.dtype):
        return _forward(weight, None)
    return lambda x: linear(x, weight)


def most_rows(device: torch.device, dtype: torch.dtype) -> int:
    """The most rows of a product on `device` in `dtype` that gains by packed weights; 0 where none does.

    By the kind of processor, never by a measurement: two runs on one machine have to give the same answers.
    """
    known = hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(
        torch.ops.mkldnn, "_reorder_linear_weight"
    )
    if device.type != "cpu" or not known:
        return 0
    if dtype == torch.bfloat16:
        return _MOST_ROWS if torch.cpu.get_capabilities().get("amx_bf16") else 0
    return sys.maxsize if dtype == torch.float32 and _mkl_is_slower() else 0


def _mkl_is_slower() -> bool:
    """Whether this is one of AMD's processors without AVX-512: on a Zen 3 MKL's products in fp32 took four
    fifths of the time of answering, and with oneDNN's 128 questions were answered 1.10 times as fast."""
    told = torch.cpu.get_capabilities()
    return bool(told.get("avx2")) and not told.get("avx512_f") and "AMD" in str(told.get("cpu_name"))


def _forward(weight: torch.Tensor, bias: torch.Tensor | None) -> Callable[[torch.Tensor], torch.Tensor]:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, _PLANNED_ROWS)
    most = most_rows(weight.device, weight.dtype)

    def forward(x: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() or x.numel() > most * x.shape[-1]:
            return linear(x, weight, bias)
        told: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
        return told

    return forward
