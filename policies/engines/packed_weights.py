"""Weights kept as a processor's matrix unit reads them.

On a CPU with AMX a product of few rows spends as long on bringing the weight's rows into the tiles' order as
on multiplying, and every token of an answer brings them anew. Here layers keep a second copy in that order,
which products of few rows read. Those of many rows read the plain one: nothing would be gained for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import linear

_MOST_ROWS = 256  # of a product; at 370 both ways took as long
_PLANNED_ROWS = 64  # what the order is chosen for


def pack_weights(model: Any) -> int:
    """Let the linear layers of `model`, which is not trained, read packed weights; how many those are.

    None where the processor has no tiles for bf16 or torch no such product. As many bytes as the weights have
    are taken once more. Layers that are written out (policies.engines.answering_layers) make their own.
    """
    if not has_tiles(model.device, model.dtype):
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
    the processor has tiles."""
    if packed and has_tiles(weight.device, weight.dtype):
        return _forward(weight, None)
    return lambda x: linear(x, weight)


def has_tiles(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether products on `device` in `dtype` can read weights in the order of its tiles."""
    known = hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(
        torch.ops.mkldnn, "_reorder_linear_weight"
    )
    on_cpu = device.type == "cpu" and dtype == torch.bfloat16
    return on_cpu and known and bool(torch.cpu.get_capabilities().get("amx_bf16"))


def _forward(weight: torch.Tensor, bias: torch.Tensor | None) -> Callable[[torch.Tensor], torch.Tensor]:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, _PLANNED_ROWS)

    def forward(x: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() or x.numel() > _MOST_ROWS * x.shape[-1]:
            return linear(x, weight, bias)
        told: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
        return told

    return forward
