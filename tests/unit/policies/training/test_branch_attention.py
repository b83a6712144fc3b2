"""Attention within branches is attention under a mask: held against scaled_dot_product_attention."""

from __future__ import annotations

import itertools

import pytest
import torch

from policies.training.branch_attention import Bins, _InBranches

HEADS, GROUPS, SIZE = 6, 2, 8


def tree(sizes: list[int]) -> tuple[list[tuple[int, int]], torch.Tensor]:
    """(branches, who sees whom): a trunk of `sizes[0]` tokens, and branches of the others."""
    borders = list(itertools.accumulate(sizes, initial=0))
    branches = list(itertools.pairwise(borders))
    seen = torch.zeros(borders[-1], borders[-1], dtype=torch.bool)
    for start, end in branches:
        seen[start:end, : sizes[0]] = True
        seen[start:end, start:end] = True
    return branches, seen.tril()


@pytest.mark.parametrize(
    "sizes", [[4, 5], [0, 7], [3, 2, 9, 1, 4], [5, 0, 3], [6, 1, 1, 1], [2, 30, 3, 3, 3, 3], [0, 1, 2, 3]]
)
def test_products_and_gradients_are_those_of_masked_attention(sizes: list[int]) -> None:
    branches, seen = tree(sizes)
    generator = torch.Generator().manual_seed(sum(sizes))
    bins = Bins.of(seen, branches, heads=HEADS, groups=GROUPS, dtype=torch.float64)
    query, slope = (
        torch.randn(HEADS, sum(sizes), SIZE, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    key, value = (
        torch.randn(GROUPS, sum(sizes), SIZE, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    found = []
    for ours in (True, False):
        given = [part.clone().requires_grad_() for part in (query, key, value)]
        if ours:
            told = _InBranches.apply(*given, bins, 0.3).transpose(0, 1)
        else:
            each = [given[0], *(part.repeat_interleave(HEADS // GROUPS, 0) for part in given[1:])]
            told = torch.nn.functional.scaled_dot_product_attention(*each, attn_mask=seen, scale=0.3)
        told.backward(slope)
        found.append([told.detach(), *(part.grad for part in given)])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-6)  # the softmax is taken in fp32


def test_bins_compute_a_fraction_of_all_scores_and_every_token_is_in_one() -> None:
    branches, seen = tree([22, *[40] * 8])
    bins = Bins.of(seen, branches, heads=9, groups=3, dtype=torch.float32)
    assert sorted(bins.queries[~bins.vacant].tolist()) == list(range(len(seen)))
    assert bins.mask.numel() < 9 * len(seen) ** 2 / 2
    assert bins.queries.flatten()[bins.places].tolist() == list(range(len(seen)))
    assert bins.keys.flatten()[bins.own].tolist() == list(range(len(seen)))
