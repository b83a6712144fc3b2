"""Attention to a beginning that all conversations of a batch share, computed for all of them at once.

Under worked examples a question of forty tokens follows a head of several hundred that every row has in
common. Its keys and values are kept once, not once a row, and all rows' queries meet them in one product;
what a row has of its own is attended to apart, and the two parts are joined by their log-sums of exponentials
(Juravsky et al. 2024, Hydragen, arXiv 2402.05099). The same attention but for rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from policies.engines.models import PLAIN_DECODERS
from policies.engines.reserved_cache import ReservedLayer

NAME = "primum_shared_head"
_HEAD = "primum_shared_head"  # the attribute by which a layer's keys carry the head to the attention

_OWN = "primum_own_mask"  # the attribute by which a step's mask carries what was made of it


class SharedHeadLayer(DynamicLayer):
    """A layer's cache: a head of one row for all rows, and reserved room for what is each row's own."""

    def __init__(self, head_keys: torch.Tensor, head_values: torch.Tensor, room: int) -> None:
        """`head_keys`, `head_values`: (1, heads, tokens, size); `room` in tokens, the head not counted."""
        super().__init__()
        self._head = head_keys, head_values
        self._own = ReservedLayer(room)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of the rows' own tokens so far; the keys carry the head along."""
        self.is_initialized = True
        self.keys, self.values = self._own.update(key_states, value_states)
        setattr(self.keys, _HEAD, self._head)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self._head[0].shape[-2] + self._own.get_seq_length()


def shared_head_cache(head: DynamicCache, *, room: int) -> DynamicCache | None:
    """A cache for conversations that all begin with `head` (a cache of one row); `room` tokens each besides.

    None where a layer is no plain one (windows, recurrent states, shared keys, values of another size).
    """
    if not all(map(_is_plain, head.layers)):
        return None
    cache = DynamicCache()
    cache.layer_class_to_replicate = None
    cache.layers.extend(SharedHeadLayer(layer.keys, layer.values, room) for layer in head.layers)
    return cache


def _is_plain(layer: Any) -> bool:
    return (
        type(layer) is DynamicLayer
        and layer.get_seq_length() > 0
        and layer.keys.shape[-1] == layer.values.shape[-1]
    )


def attend_to_heads(model: Any) -> bool:
    """Let `model` attend so where a cache shares a head; False, and nothing is changed, where it cannot.

    That is: off CPUs, where another attention was chosen, for decoders that ask more of an attention than a
    mask and a scale (caps, sinks, biases).
    """
    implementation, kind = model.config._attn_implementation, model.config.model_type
    if model.device.type != "cpu" or implementation != "sdpa" or kind not in PLAIN_DECODERS:
        return False
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)
    return True


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """As `transformers.integrations.sdpa_attention` has it: (rows, tokens, heads, size), None."""
    head = getattr(key, _HEAD, None)
    if head is None:
        told: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return told
    rows, heads, tokens, size = query.shape
    groups = head[0].shape[1]
    each = heads // groups
    # Queries that share keys become one long row of queries.
    long = query.view(rows, groups, each, tokens, size).permute(1, 0, 2, 3, 4).reshape(1, groups, -1, size)
    shared, shared_sum = _flash(long, head[0], head[1], None, scaling)
    shared = shared.view(groups, rows, each, tokens, size).transpose(0, 1).reshape(query.shape)
    shared_sum = shared_sum.view(groups, rows, each, tokens).transpose(0, 1).reshape(rows, heads, tokens)
    mask = _own_mask_of(attention_mask, key.shape[-2], query)
    if tokens == 1:  # heads that share keys are as good as tokens that do
        own, own_sum = _flash(query.view(rows, groups, each, size), key, value, mask, scaling)
        own, own_sum = own.reshape(query.shape), own_sum.reshape(rows, heads, tokens)
    else:
        keys, values = (part.repeat_interleave(each, dim=1) for part in (key, value))
        own, own_sum = _flash(query, keys, values, mask, scaling)
    weight = torch.sigmoid(own_sum.float() - shared_sum.float())[..., None].to(query.dtype)
    return torch.lerp(shared, own, weight).transpose(1, 2).contiguous(), None


def _own_mask_of(mask: torch.Tensor | None, own: int, query: torch.Tensor) -> torch.Tensor | None:
    """What all layers of a step add to their scores, made by the first of them."""
    if mask is None:
        return _own_mask(None, own, query)
    known: tuple[int, torch.Tensor | None] | None = getattr(mask, _OWN, None)
    if known is None or known[0] != own:
        known = own, _own_mask(mask, own, query)
        setattr(mask, _OWN, known)
    return known[1]


def _own_mask(mask: torch.Tensor | None, own: int, query: torch.Tensor) -> torch.Tensor | None:
    tokens = query.shape[-2]
    if mask is not None:
        seen = mask[..., -own:]
        return torch.zeros_like(seen, dtype=query.dtype).masked_fill_(~seen, torch.finfo(query.dtype).min)
    if tokens == 1:
        return None
    seen = torch.ones(tokens, own, dtype=torch.bool).tril(own - tokens)
    return torch.zeros(tokens, own, dtype=query.dtype).masked_fill_(~seen, torch.finfo(query.dtype).min)


def _flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(attention, log-sum of exponentials); the kernel that `scaled_dot_product_attention` takes on a CPU."""
    told: tuple[torch.Tensor, torch.Tensor] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, attn_mask=mask, scale=scaling
    )
    return told
