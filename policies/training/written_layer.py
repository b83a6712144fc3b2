"""A decoder layer with LoRA, forward and back, written out for a CPU.

Autograd goes over every intermediate result once more: of a step of the embedded model half is passes over
tensors of a megabyte and the calls that start them. Here a layer is one function with its own gradient.
Linear layers that take the same input are one product, and LoRA is part of it: with A and B of all of them,
y = [x, s x Aᵀ] [W, B]ᵀ, so that what is multiplied forward and back has a few columns more instead of passes
of its own. The same numbers but for rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import linear, silu
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from policies.engines.llama_parts import (
    Adapter,
    Adapters,
    adapters_of,
    base_of,
    groups_of,
    heads_of,
    plain_layers,
    rms_norm,
    rotated,
)
from policies.training.branch_attention import Bins, attend, attended_back


def write_out_layers(decoder: Any) -> int:
    """Let the Llama layers of `decoder` compute so where they are given branches; how many those are.

    Adapters may come later: what a layer holds is looked at when it is called. Whatever is not told here (a
    cache, biases, dropout, DoRA, weights of the base that are trained) is computed as before.
    """
    layers = plain_layers(decoder)
    for layer in layers:
        layer.forward = WrittenLayer(layer)
    return len(layers)


class WrittenLayer:
    """The forward of one layer."""

    def __init__(self, layer: LlamaDecoderLayer) -> None:
        self._layer = layer
        self._products: dict[tuple[Any, ...], tuple[Joined, ...]] = {}

    def __call__(self, hidden_states: torch.Tensor, *args: Any, **given: Any) -> Any:
        """`hidden_states` (1, T, size), and what a decoder gives to its layers."""
        adapters = None
        bins = given.get("branches")
        alone = not args and given.get("past_key_values") is None and len(hidden_states) == 1
        if alone and bins is not None and hidden_states.device.type == "cpu":
            adapters = adapters_of(self._layer)
        if adapters is None:
            return type(self._layer).forward(self._layer, hidden_states, *args, **given)
        products = self._loaded(adapters)
        cosine, sine = (part[0, :, None] for part in given["position_embeddings"])  # (T, 1, size of a head)
        trained = [matrix for one in _flat(adapters) for matrix in one[:2]]
        x = hidden_states[0]
        told: torch.Tensor = _Written.apply(x, self._layer, products, cosine, sine, bins, *trained)
        return told[None]

    def _loaded(self, adapters: Adapters) -> tuple[Joined, ...]:
        # Buffers for each set of adapters: between one's forward and backward another may be asked.
        key = tuple(one and (id(one[0]), one[0].shape, one[2]) for group in adapters for one in group)
        if key not in self._products:
            self._products[key] = tuple(
                Joined([base_of(module).weight.detach() for module in group], one)
                for group, one in zip(groups_of(self._layer), adapters, strict=True)
            )
        for product, group in zip(self._products[key], adapters, strict=True):
            product.load(group)
        return self._products[key]


def _flat(adapters: Adapters) -> Iterator[Adapter]:
    return (one for group in adapters for one in group if one is not None)


class Joined:
    """Linear layers of one input with their adapters, as one product.

    `weight` (outs, ins + ranks): the weights one below the other, and each one's B to the right of its own;
    `down` (ranks, ins): every A times its scaling, one below the other.
    """

    def __init__(self, weights: Sequence[torch.Tensor], adapters: Sequence[Adapter | None]) -> None:
        ranks = [0 if adapter is None else len(adapter[0]) for adapter in adapters]
        self.ins, dtype = weights[0].shape[1], weights[0].dtype
        self.weight = torch.zeros(sum(map(len, weights)), self.ins + sum(ranks), dtype=dtype)
        self.weight[:, : self.ins] = torch.cat(list(weights))
        self.down = torch.empty(sum(ranks), self.ins, dtype=dtype)
        self._blocks: list[tuple[slice, slice, float]] = []  # of an adapter: its outputs, its ranks, scaling
        row = column = 0
        for weight, rank, adapter in zip(weights, ranks, adapters, strict=True):
            if adapter is not None:
                self._blocks.append((slice(row, row + len(weight)), slice(column, column + rank), adapter[2]))
            row, column = row + len(weight), column + rank

    def load(self, adapters: Sequence[Adapter | None]) -> None:
        """Take over what adapters of the same shapes have become."""
        held = [adapter for adapter in adapters if adapter is not None]
        up = self.weight[:, self.ins :]
        with torch.no_grad():
            for (rows, ranks, scaling), (a, b, _) in zip(self._blocks, held, strict=True):
                self.down[ranks].copy_(a).mul_(scaling)
                up[rows, ranks].copy_(b)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`x` (T, ins) → (T, outs), and (T, ins + ranks), which `backward` needs."""
        taken = torch.cat((x, linear(x, self.down)), 1) if len(self.down) else x
        return linear(taken, self.weight), taken

    def backward(
        self, gradient: torch.Tensor, taken: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """Of the output's gradient the input's, and A's and B's of each adapter, in fp32."""
        of_taken = gradient @ self.weight
        if not self._blocks:
            return of_taken, []
        low, of_low = taken[:, self.ins :].contiguous(), of_taken[:, self.ins :].contiguous()
        of_down = (of_low.t() @ taken[:, : self.ins]).float()
        of_up = (low.t() @ gradient).float()  # (ranks, outs), of which each adapter's own block is meant
        told: list[torch.Tensor | None] = []
        for rows, ranks, scaling in self._blocks:
            told += [of_down[ranks].mul_(scaling), of_up[ranks, rows].t()]
        return torch.addmm(of_taken[:, : self.ins], of_low, self.down), told


@dataclass
class _Kept:
    """What a layer's backward needs besides its tensors."""

    layer: LlamaDecoderLayer
    products: tuple[Joined, ...]
    bins: Bins


class _Written(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        layer: LlamaDecoderLayer,
        products: tuple[Joined, ...],
        cosine: torch.Tensor,
        sine: torch.Tensor,
        bins: Bins,
        *trained: torch.Tensor,
    ) -> torch.Tensor:
        to_heads, to_out, to_gates, to_down = products
        heads, groups, size = heads_of(layer)
        first, second = layer.input_layernorm, layer.post_attention_layernorm
        normed, scale = rms_norm(x, first)
        projected, taken_heads = to_heads.forward(normed)
        by_head = projected.view(len(x), -1, size)
        turned = rotated(by_head[:, : heads + groups], cosine, sine)
        attended, kept = attend(
            turned[:, :heads].transpose(0, 1),
            turned[:, heads:].transpose(0, 1),
            by_head[:, heads + groups :].transpose(0, 1),
            bins,
            layer.self_attn.scaling,
        )
        out, taken_out = to_out.forward(attended.view(len(x), -1))
        middle = out.add_(x)
        normed, middle_scale = rms_norm(middle, second)
        gates, taken_gates = to_gates.forward(normed)
        gate, up = gates.chunk(2, 1)
        opened = silu(gate)
        told, taken_down = to_down.forward(opened * up)
        told.add_(middle)
        ctx.kept = _Kept(layer, products, bins)
        ctx.save_for_backward(
            *(x, scale, cosine, sine, taken_heads, taken_out, middle, middle_scale),
            *(taken_gates, gates, opened, taken_down, *kept, *trained),  # those say if weights have changed
        )
        return told

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        layer, (to_heads, to_out, to_gates, to_down) = ctx.kept.layer, ctx.kept.products
        x, scale, cosine, sine, taken_heads, taken_out, middle, middle_scale, *rest = ctx.saved_tensors
        taken_gates, gates, opened, taken_down, *kept = rest
        heads, groups, size = heads_of(layer)
        gradient = gradients[0]
        of_product, of_down = to_down.backward(gradient, taken_down)
        gate, up = gates.chunk(2, 1)
        of_gates = torch.empty_like(gates)
        of_gates[:, : gate.shape[1]] = torch.ops.aten.silu_backward(of_product * up, gate)
        torch.mul(of_product, opened, out=of_gates[:, gate.shape[1] :])
        of_normed, of_gates_up = to_gates.backward(of_gates, taken_gates)
        of_middle = _normed_back(of_normed, middle, middle_scale, layer.post_attention_layernorm)
        of_middle.add_(gradient)
        of_attended, of_out = to_out.backward(of_middle, taken_out)
        of_query, of_key, of_value = attended_back(
            of_attended.reshape(len(x), heads, size), kept[:4], ctx.kept.bins, layer.self_attn.scaling
        )
        turned = torch.cat((of_query, of_key)).transpose(0, 1)
        of_heads = torch.empty(len(x), heads + 2 * groups, size, dtype=x.dtype)
        of_heads[:, : heads + groups] = rotated(turned, cosine, sine, back=True)
        of_heads[:, heads + groups :] = of_value.transpose(0, 1)
        of_normed, of_projections = to_heads.backward(of_heads.view(len(x), -1), taken_heads)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = _normed_back(of_normed, x, scale, layer.input_layernorm).add_(of_middle)
        return (of_x, *[None] * 5, *of_projections, *of_out, *of_gates_up, *of_down)


def _normed_back(gradient: torch.Tensor, x: torch.Tensor, scale: torch.Tensor, norm: Any) -> torch.Tensor:
    """`gradient` of `rms_norm`'s result → that of `x`."""
    slope = gradient.float().mul_(norm.weight.detach())
    unit = x.float() * scale
    along = (slope * unit).mean(-1, keepdim=True)
    return slope.addcmul_(unit, along, value=-1).mul_(scale).to(x.dtype)
