"""Attention within the branches of a packed row, instead of between all its tokens.

In a row that `shared_prefixes` packed a token looks at what all branches begin with and at its own branch: of
eight pairs an eighth of what attention over the whole row computes and masks away. Here branches are put into
bins of about one size, and each bin attends to the common beginning and to itself. Products and gradients are
the same but for rounding; what no token may see is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface

from policies.engines.shapes import round_up

NAME = "primum_branches"
_BIN_STEP = 16  # tokens


@dataclass(frozen=True)
class Bins:
    """How a packed row of T tokens is divided: B bins, of Q queries and of K = `trunk` + Q keys each.

    `queries` (B, Q): tokens, 0 where `vacant` (B, Q) is set. `keys` (B, K). `places` (T,): where a token
    stands among the B · Q queries; `own` (T,): among the B · K keys, as a key of its bin. Tokens of no
    branch, which are padding, stand at a vacant place, whose gradients are 0. `mask` (groups · B, heads of a
    group · Q, K) is added to the scores: 0, or the least number there is.
    """

    trunk: int
    queries: torch.Tensor
    vacant: torch.Tensor
    keys: torch.Tensor
    places: torch.Tensor
    own: torch.Tensor
    mask: torch.Tensor

    @classmethod
    def of(
        cls,
        seen: torch.Tensor,
        branches: Sequence[tuple[int, int]],
        *,
        heads: int,
        groups: int,
        dtype: torch.dtype,
    ) -> Bins:
        """`seen` (T, T), True where a token may look at another; `branches` as (from, to), first what all of
        them begin with. `groups` of `heads` share keys and values."""
        trunk = branches[0][1]
        sizes = [end - start for start, end in branches]
        plan = _even(sizes, beside=trunk)
        # One at least is vacant, and there are few widths: a processor's code for a product is made by shape.
        width = round_up(1 + max(sum(sizes[one] for one in members) for members in plan), _BIN_STEP)
        shape = len(plan), width
        queries = torch.zeros(shape, dtype=torch.long)
        vacant = torch.ones(shape, dtype=torch.bool)
        keys = torch.zeros(len(plan), trunk + width, dtype=torch.long)
        keys[:, :trunk] = torch.arange(trunk)
        sight = torch.zeros(len(plan), width, trunk + width, dtype=torch.bool)
        places = torch.full((len(seen),), width - 1)
        own = torch.full((len(seen),), trunk + width - 1)
        for number, members in enumerate(plan):
            tokens = torch.cat([torch.arange(*branches[one]) for one in members])
            count = len(tokens)
            queries[number, :count], vacant[number, :count] = tokens, False
            keys[number, trunk : trunk + count] = tokens
            places[tokens] = number * width + torch.arange(count)
            own[tokens] = number * (trunk + width) + trunk + torch.arange(count)
            # Tokens of the trunk see it as their own branch, all others as the trunk: nothing is seen twice.
            common = tokens < trunk
            sight[number, :count, :trunk] = seen[tokens, :trunk] & ~common[:, None]
            sight[number, :count, trunk : trunk + count] = seen[tokens][:, tokens] & (
                common[None, :] == common[:, None]
            )
        sight[..., 0] |= vacant  # a row of a mask without any sight has no softmax
        mask = torch.zeros(sight.shape, dtype=dtype).masked_fill_(~sight, torch.finfo(dtype).min)
        mask = mask[None, :, None].expand(groups, -1, heads // groups, -1, -1)
        return cls(
            trunk, queries, vacant, keys, places, own, mask.reshape(groups * len(plan), -1, trunk + width)
        )


def _even(sizes: Sequence[int], *, beside: int) -> list[list[int]]:
    """Which of the branches share a bin, for as few scores in all bins as a greedy hand finds."""
    found: tuple[int, list[list[int]]] | None = None
    order = sorted((one for one in range(len(sizes)) if sizes[one]), key=lambda one: -sizes[one])
    for count in range(1, len(order) + 1):
        bins: list[list[int]] = [[] for _ in range(count)]
        filled = [0] * count
        for one in order:
            least = filled.index(min(filled))
            bins[least].append(one)
            filled[least] += sizes[one]
        scores = count * max(filled) * (beside + max(filled))
        if found is None or scores < found[0]:
            found = scores, bins
    if found is None:
        raise ValueError("no branch has a token")
    return found[1]


def attend_in_branches(model: Any) -> bool:
    """Let `model` take its attention from here; False, and nothing is changed, where it has no plain one.

    That is: off CPUs, where another attention was chosen, and where weights are dropped at random.

    Its decoder then has to be given `branches` (Bins) with every packed row.
    """
    plain = model.config._attn_implementation == "eager" and not getattr(model.config, "attention_dropout", 0)
    if model.device.type != "cpu" or not plain:
        return False
    AttentionInterface.register(NAME, _attention)
    model.set_attn_implementation(NAME)
    return True


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    branches: Bins,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """`query` (1, heads, T, size), `key` and `value` (1, groups, T, size) → (1, T, heads, size), None."""
    told: torch.Tensor = _InBranches.apply(query[0], key[0], value[0], branches, scaling)
    return told[None], None


class _InBranches(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bins: Bins, scaling: float
    ) -> torch.Tensor:
        told, kept = attend(query, key, value, bins, scaling)
        ctx.save_for_backward(*kept)
        ctx.bins, ctx.scaling = bins, scaling
        return told

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return (*attended_back(gradients[0], ctx.saved_tensors, ctx.bins, ctx.scaling), None, None)


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bins: Bins, scaling: float
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """`query` (heads, T, size), `key` and `value` (groups, T, size) → (T, heads, size), and what
    `attended_back` needs. Queries of the heads that share keys are one long block of queries."""
    groups = len(key)
    asked = _blocks(query * scaling, bins.queries, groups)
    keys, values = (_blocks(part, bins.keys, groups) for part in (key, value))
    weights = torch.baddbmm(bins.mask, asked, keys.transpose(1, 2)).softmax(-1, dtype=torch.float32)
    weights = weights.to(query.dtype)
    told = _tokens(torch.bmm(weights, values), bins.places, bins.queries.shape, groups)
    return told.transpose(0, 1).contiguous(), (asked, keys, values, weights)


def attended_back(
    gradient: torch.Tensor, kept: Sequence[torch.Tensor], bins: Bins, scaling: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`gradient` (T, heads, size) of what `attend` told → those of its query, key and value."""
    asked, keys, values, weights = kept
    groups = len(keys) // len(bins.keys)
    slope = _blocks(gradient.transpose(0, 1), bins.queries, groups)
    by_query = slope.view(groups, len(bins.queries), -1, bins.queries.shape[1], slope.shape[-1])
    by_query.masked_fill_(bins.vacant[None, :, None, :, None], 0)
    of_values = torch.bmm(weights.transpose(1, 2), slope)
    of_weights = torch.bmm(slope, values.transpose(1, 2))
    of_scores = torch._softmax_backward_data(of_weights.float(), weights.float(), -1, torch.float32)
    of_scores = of_scores.to(weights.dtype)
    of_queries = torch.bmm(of_scores, keys).mul_(scaling)
    of_keys = torch.bmm(of_scores.transpose(1, 2), asked)
    return (
        _tokens(of_queries, bins.places, bins.queries.shape, groups),
        _summed(of_keys, bins, groups),
        _summed(of_values, bins, groups),
    )


def _blocks(states: torch.Tensor, tokens: torch.Tensor, groups: int) -> torch.Tensor:
    """(heads, T, size) and `tokens` (B, N) → (groups · B, heads of a group · N, size)."""
    heads, _, size = states.shape
    bins, count = tokens.shape
    taken = states.index_select(1, tokens.flatten())
    return (
        taken.view(groups, heads // groups, bins, count, size)
        .transpose(1, 2)
        .reshape(groups * bins, heads // groups * count, size)
    )


def _tokens(blocks: torch.Tensor, places: torch.Tensor, shape: torch.Size, groups: int) -> torch.Tensor:
    """Back from `_blocks` with as many queries as `shape` (B, N): (heads, T, size)."""
    bins, count = shape
    size = blocks.shape[-1]
    heads = blocks.numel() // (bins * count * size)
    rows = (
        blocks.view(groups, bins, heads // groups, count, size)
        .transpose(1, 2)
        .reshape(heads, bins * count, size)
    )
    return rows.index_select(1, places)


def _summed(blocks: torch.Tensor, bins: Bins, groups: int) -> torch.Tensor:
    """(groups · B, K, size) → (groups, T, size): a token of the trunk is a key of every bin."""
    each = blocks.view(groups, *bins.keys.shape, blocks.shape[-1])
    summed = each.reshape(groups, -1, blocks.shape[-1]).index_select(1, bins.own)
    summed[:, : bins.trunk] += each[:, :, : bins.trunk].sum(1)
    return summed
