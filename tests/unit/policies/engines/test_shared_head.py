"""Attention to a shared head is the attention that every row would have paid to a head of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from policies.engines.models import load_base
from policies.engines.reserved_cache import reserved_cache
from policies.engines.shared_head import (
    SharedHeadLayer,
    _attention,
    attend_to_heads,
    shared_head_cache,
)

HEAD, SIZE = 11, 8


def made(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("heads", "groups"), [(6, 2), (4, 4), (3, 1)])
@pytest.mark.parametrize(("tokens", "own"), [(1, 1), (1, 7), (5, 5), (5, 8)])
@pytest.mark.parametrize("padded", [False, True])
def test_it_is_the_softmax_over_head_and_own_tokens_together(
    heads: int, groups: int, tokens: int, own: int, padded: bool
) -> None:
    rows = 3
    query = made(rows, heads, tokens, SIZE, seed=0)
    layer = SharedHeadLayer(made(1, groups, HEAD, SIZE, seed=1), made(1, groups, HEAD, SIZE, seed=2), room=4)
    if own > tokens:
        layer.update(
            made(rows, groups, own - tokens, SIZE, seed=3), made(rows, groups, own - tokens, SIZE, seed=4)
        )
    key, value = layer.update(
        made(rows, groups, tokens, SIZE, seed=5), made(rows, groups, tokens, SIZE, seed=6)
    )
    seen = torch.ones(rows, 1, tokens, own, dtype=torch.bool).tril(own - tokens)
    if padded:  # the first tokens behind the head are no tokens of the shorter rows
        for row in range(rows):
            seen[row, :, :, : min(row, own - 1)] = False
    mask = torch.cat([torch.ones(rows, 1, tokens, HEAD, dtype=torch.bool), seen], dim=-1)
    found, _ = _attention(torch.nn.Module(), query, key, value, mask if padded else None, scaling=0.3)
    # In plain products, the head repeated for every row.
    keys, values = (
        torch.cat([head.expand(rows, -1, -1, -1), own_states], dim=2).repeat_interleave(
            heads // groups, dim=1
        )
        for head, own_states in zip(layer._head, (key, value), strict=True)
    )
    scores = (query @ keys.transpose(-1, -2) * 0.3).masked_fill(~mask, float("-inf"))
    expected = (scores.softmax(-1) @ values).transpose(1, 2)
    assert torch.allclose(found, expected, atol=1e-6)


def test_layer_counts_the_head_and_keeps_it_once() -> None:
    layer = SharedHeadLayer(made(1, 2, HEAD, SIZE, seed=1), made(1, 2, HEAD, SIZE, seed=2), room=2)
    assert layer.get_seq_length() == HEAD
    for tokens in (3, 1, 1):
        before = layer.get_seq_length()
        layer.update(made(4, 2, tokens, SIZE, seed=tokens), made(4, 2, tokens, SIZE, seed=tokens))
        assert layer.get_seq_length() == before + tokens
        assert layer.get_mask_sizes(1) == (before + tokens + 1, 0)


def test_model_says_the_same_with_the_head_kept_once(tiny_model: Path) -> None:
    model, _ = load_base(tiny_model, dtype="float32", device="cpu")
    head = torch.randint(3, 200, (1, 9), generator=torch.Generator().manual_seed(0))
    rows = torch.randint(3, 200, (3, 4), generator=torch.Generator().manual_seed(1))
    ids = torch.cat([head.expand(3, -1), rows], dim=1)
    mask = torch.ones_like(ids)
    mask[1, 9:11] = 0
    told = {}
    with torch.inference_mode():
        first = model(input_ids=head, use_cache=True).past_key_values
        for name, cache in (("apart", reserved_cache(first, rows=3, room=30)), ("once", None)):
            if cache is None:
                assert attend_to_heads(model)
                cache = shared_head_cache(first, room=3)
            told[name] = model.generate(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=cache,
                max_new_tokens=8,
                do_sample=False,
                pad_token_id=0,
                return_dict_in_generate=True,
                output_scores=True,
            )
        assert first.get_seq_length() == 9, "the head stays as it was"
    assert torch.equal(told["apart"].sequences, told["once"].sequences)
    for one, other in zip(told["apart"].scores, told["once"].scores, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_without_a_shared_head_the_model_attends_as_before(tiny_model: Path) -> None:
    model, _ = load_base(tiny_model, dtype="float32", device="cpu")
    ids = torch.randint(3, 200, (2, 6), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[0, 1, 1, 1, 1, 1], [1] * 6])
    with torch.inference_mode():
        before = model(input_ids=ids, attention_mask=mask).logits
        assert attend_to_heads(model)
        assert torch.equal(model(input_ids=ids, attention_mask=mask).logits, before)


def test_a_model_that_was_told_to_attend_otherwise_is_left_alone(tiny_model: Path) -> None:
    model, _ = load_base(tiny_model, dtype="float32", device="cpu")
    model.set_attn_implementation("eager")
    assert not attend_to_heads(model)
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize("other", [DynamicSlidingWindowLayer(sliding_window=4), DynamicLayer()])
def test_heads_of_other_layers_are_not_shared(other: DynamicLayer) -> None:
    head = DynamicCache()
    head.update(made(1, 2, 3, SIZE, seed=0), made(1, 2, 3, SIZE, seed=1), 0)
    assert shared_head_cache(head, room=4) is not None
    head.layers.append(other)
    assert shared_head_cache(head, room=4) is None
