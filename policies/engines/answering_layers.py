"""Llama layers written out for answering and judging on a CPU.

A token's step of a small model is as much calling as multiplying: by transformers' and PEFT's modules a layer
takes some eighty operations, each over a small tensor, and while one of two lanes holds the interpreter for
them the other waits. Here a layer is about thirty: linear modules of one input are one product, and so are
their adapters' two factors. The same numbers but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import linear, silu
from transformers.models.llama.modeling_llama import (
    ALL_ATTENTION_FUNCTIONS,
    LlamaDecoderLayer,
    eager_attention_forward,
)

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
from policies.engines.packed_weights import most_rows, product

_FEW_ROWS = 256  # of a product


def write_out_answering(model: Any, *, packed: bool = False) -> int:
    """Let the Llama layers of `model`, a causal language model on a CPU, compute so; how many those are.

    For a model that answers and whose weights stay as they are, its adapter already in it: with gradients it
    computes as before. Called again with an adapter that has been put on since, it takes that over. Layers
    that hold what is not told here (biases, DoRA, merged adapters, weights that are trained) are left. The
    modules' weights become views of the joined ones, so that these take no memory; `packed`: with a
    packed copy beside them, where products gain by it (policies.engines.packed_weights).
    """
    if model.device.type != "cpu":
        return 0
    count = 0
    for layer in plain_layers(model.base_model):
        before = layer.__dict__.pop("forward", None)
        adapters = adapters_of(layer)
        if adapters is None:
            continue
        weights = (
            before.weights
            if isinstance(before, AnsweringLayer)
            else tuple(JoinedWeights(modules, packed=packed) for modules in groups_of(layer))
        )
        layer.forward = AnsweringLayer(layer, weights, adapters)
        count += 1
    return count


@contextmanager
def written_out(model: Any) -> Iterator[None]:
    """Within it `model`, which is being trained, answers so, by its adapters as they are now."""
    before = [(layer, vars(layer).get("forward")) for layer in plain_layers(model.base_model)]
    try:
        write_out_answering(model)
        yield
    finally:
        for layer, forward in before:
            vars(layer).pop("forward", None)
            if forward is not None:
                layer.forward = forward


def for_last_tokens(decoder: Any) -> dict[str, AnsweringLayer]:
    """What `decoder` is to be called with where nothing but each row's last token is looked at."""
    forward = vars(decoder.layers[-1]).get("forward")
    return {"last_alone": forward} if isinstance(forward, AnsweringLayer) else {}


class JoinedWeights:
    """Weights (outs, ins) of linear modules of one input, one below the other.

    Copies of a model share them, as they share its other tensors.
    """

    def __init__(self, modules: Sequence[Any], *, packed: bool) -> None:
        weights = [base_of(module).weight for module in modules]
        joined = _in_one(weights)
        for weight, part in zip(weights, joined.split([len(one) for one in weights]), strict=True):
            weight.data = part
        apart = len(weights) > 1 and not (packed and most_rows(joined.device, joined.dtype))
        self.multiply = _part_by_part(weights, joined) if apart else product(joined, packed=packed)

    def __deepcopy__(self, memo: dict[int, Any]) -> JoinedWeights:
        return self


def _part_by_part(
    weights: Sequence[torch.Tensor], joined: torch.Tensor
) -> Callable[[torch.Tensor], torch.Tensor]:
    """x → x times `joined`, transposed; of few rows each part by itself, into its place: in fp32 on a Zen 3
    64 rows took 3.5 ms with the halves of a gated MLP so, and 4.1 ms with both at once; of 2,000 it is the
    other way round."""
    parts, sizes = [one.detach().t() for one in weights], [len(one) for one in weights]

    def multiply(x: torch.Tensor) -> torch.Tensor:
        if len(x) > _FEW_ROWS:
            return linear(x, joined)
        told = x.new_empty(len(x), len(joined))
        for part, place in zip(parts, told.split(sizes, 1), strict=True):
            torch.mm(x, part, out=place)
        return told

    return multiply


def _in_one(weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """One below the other: as they lie, where they have been joined before."""
    first, end = weights[0], weights[0].data_ptr()
    for weight in weights:
        if (
            weight.data_ptr() != end
            or weight.untyped_storage().data_ptr() != first.untyped_storage().data_ptr()
        ):
            return torch.cat([one.detach() for one in weights])
        end += weight.nbytes
    return first.detach().as_strided((sum(map(len, weights)), first.shape[1]), (first.shape[1], 1))


class AnsweringLayer:
    """The forward of one layer."""

    def __init__(
        self, layer: LlamaDecoderLayer, weights: tuple[JoinedWeights, ...], adapters: Adapters
    ) -> None:
        self._layer, self.weights = layer, weights
        self._heads = heads_of(layer)
        self._factors = [
            _factors(group, [base_of(module).weight for module in modules])
            for group, modules in zip(adapters, groups_of(layer), strict=True)
        ]

    def __call__(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Any = None,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        **given: Any,
    ) -> torch.Tensor:
        """`hidden_states` (rows, tokens, size), and what a decoder gives to its layers.

        The layer that `last_alone` names (`for_last_tokens`) tells of each row's last token alone: (rows, 1,
        size). The others' keys and values are all that is needed of them there.
        """
        layer, alone = self._layer, given.pop("last_alone", None) is self
        if torch.is_grad_enabled() or position_embeddings is None:
            theirs: torch.Tensor = type(layer).forward(
                layer,
                hidden_states,
                attention_mask=attention_mask,
                past_key_values=past_key_values,
                position_embeddings=position_embeddings,
                **given,
            )
            return theirs
        rows, tokens, size = hidden_states.shape
        x = hidden_states.reshape(-1, size)
        asked = 1 if alone else tokens
        attended = self._attended(
            x.view(rows, tokens, size), asked, attention_mask, past_key_values, position_embeddings, given
        )
        if alone:
            x = x.view(rows, tokens, size)[:, -1]
        middle = self._product(1, attended.reshape(len(x), -1)).add_(x)
        gate, up = self._product(2, rms_norm(middle, layer.post_attention_layernorm)[0]).chunk(2, 1)
        return self._product(3, silu(gate).mul_(up)).add_(middle).view(rows, asked, size)

    def _attended(
        self,
        x: torch.Tensor,
        asked: int,
        mask: torch.Tensor | None,
        cache: Any,
        positions: tuple[torch.Tensor, torch.Tensor],
        given: dict[str, Any],
    ) -> torch.Tensor:
        """Of each row's last `asked` tokens."""
        attention = self._layer.self_attn
        rows, tokens, size = x.shape
        heads, groups, each = self._heads
        normed, _ = rms_norm(x.view(-1, size), self._layer.input_layernorm)
        by_head = self._product(0, normed).view(rows, tokens, -1, each)
        cosine, sine = (part[:, :, None] for part in positions)
        turned = rotated(by_head[:, :, : heads + groups], cosine, sine).transpose(1, 2)
        query, key = turned[:, :heads], turned[:, heads:]
        value = by_head[:, :, heads + groups :].transpose(1, 2)
        if cache is not None:
            key, value = cache.update(key, value, attention.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(
            attention.config._attn_implementation, eager_attention_forward
        )
        if asked < tokens:
            query = query[:, :, -asked:]
            mask = None if mask is None else mask[:, :, -asked:]
        told, _ = attend(attention, query, key, value, mask, dropout=0.0, scaling=attention.scaling, **given)
        attended: torch.Tensor = told
        return attended

    def _product(self, group: int, x: torch.Tensor) -> torch.Tensor:
        """`x` (T, ins) → (T, outs), adapters included."""
        told = self.weights[group].multiply(x)
        if (factors := self._factors[group]) is not None:
            down, up = factors
            told.addmm_(linear(x, down), up)
        return told


def _factors(
    adapters: Sequence[Adapter | None], weights: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Adapters of one input as one: every A times its scaling, one below the other (ranks, ins), and each B
    beside its own outputs, (ranks, outs), in the weights' type. None where there is no adapter."""
    held = [one for one in adapters if one is not None]
    if not held:
        return None
    down = torch.cat([a.detach().float() * scaling for a, _, scaling in held]).to(weights[0].dtype)
    up = down.new_zeros(len(down), sum(map(len, weights)))
    row = column = 0
    for adapter, weight in zip(adapters, weights, strict=True):
        if adapter is not None:
            rank = len(adapter[0])
            up[row : row + rank, column : column + len(weight)] = adapter[1].detach().t()
            row += rank
        column += len(weight)
    return down, up
