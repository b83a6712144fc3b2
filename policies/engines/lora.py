"""LoRA layers that multiply in the base's type, their product added where the base's is made.

PEFT casts what enters a layer to the adapter's fp32, multiplies there, scales and adds the large product in
passes of their own, and casts back. With a small base and a rank of 16 those passes take longer than the
products. Here the two small matrices are cast instead, and the sum is part of the second product. Adapter
weights and their gradients stay what they are; only roundings differ.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch.nn.functional import linear


def fuse_lora(model: Any) -> int:
    """Let the plain LoRA layers of a PEFT model on linear layers compute so; how many those are.

    DoRA and other variants, dropout, biases, merged or mixed adapters are computed as PEFT does.
    """
    from peft.tuners.lora.layer import Linear

    layers = [
        module
        for module in model.modules()
        if type(module) is Linear and type(module.base_layer) is torch.nn.Linear
    ]
    for layer in layers:
        layer.forward = types.MethodType(_forward, layer)
    return len(layers)


def _forward(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    names = [name for name in self.active_adapters if name in self.lora_A]
    special = self.disable_adapters or self.merged or args or kwargs
    if special or not all(is_plain(self, name) for name in names):
        theirs: torch.Tensor = type(self).forward(self, x, *args, **kwargs)
        return theirs
    result: torch.Tensor = self.base_layer(x)
    rows, total = x.reshape(-1, x.shape[-1]), result.reshape(-1, result.shape[-1])
    for name in names:
        down = self.lora_A[name].weight.to(x.dtype)
        up = self.lora_B[name].weight.to(x.dtype)
        # Without a gradient to think of nothing is copied.
        add = torch.addmm if torch.is_grad_enabled() else torch.Tensor.addmm_
        total = add(total, linear(rows, down), up.t(), alpha=self.scaling[name])
    return total.view(result.shape)


def is_plain(layer: Any, name: str) -> bool:
    return (
        name not in layer.lora_variant
        and isinstance(layer.lora_dropout[name], torch.nn.Identity)
        and layer.lora_A[name].bias is None
        and layer.lora_B[name].bias is None
    )
