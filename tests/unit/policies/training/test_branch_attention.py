"""Attention within branches is attention under a mask: held against scaled_dot_product_attention."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from policies.engines.models import load_base
from policies.training.branch_attention import NAME, Bins, _InBranches, attend_in_branches

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


def test_in_bf16_it_is_as_near_to_the_exact_products_as_plain_attention() -> None:
    branches, seen = tree([6, 12, 9, 15])
    generator = torch.Generator().manual_seed(4)
    shapes = [(HEADS, len(seen), SIZE), (GROUPS, len(seen), SIZE), (GROUPS, len(seen), SIZE)]
    exact = [torch.randn(shape, generator=generator) for shape in shapes]
    coarse = [part.bfloat16() for part in exact]
    bins = Bins.of(seen, branches, heads=HEADS, groups=GROUPS, dtype=torch.bfloat16)
    ours = _InBranches.apply(*coarse, bins, 0.3).transpose(0, 1).float()

    def plain(parts: list[torch.Tensor]) -> torch.Tensor:
        key, value = (part.repeat_interleave(HEADS // GROUPS, 0) for part in parts[1:])
        scores = (parts[0] @ key.transpose(1, 2) * 0.3).masked_fill(~seen, float("-inf"))
        return (scores.softmax(-1, dtype=torch.float32).to(value.dtype) @ value).float()

    truth = plain([part.float() for part in coarse])
    assert (ours - truth).square().mean() < 1.5 * (plain(coarse) - truth).square().mean()


@pytest.mark.parametrize(
    ("dropout", "attention", "taken"), [(0.0, "eager", True), (0.1, "eager", False), (0.0, "sdpa", False)]
)
def test_only_plain_attention_without_dropout_is_replaced(
    tiny_model: Path, dropout: float, attention: str, taken: bool
) -> None:
    model, _ = load_base(tiny_model, dtype="float32", device="cpu")
    model.set_attn_implementation(attention)
    model.config.attention_dropout = dropout
    assert attend_in_branches(model) is taken
    assert model.config._attn_implementation == (NAME if taken else attention)


def test_bins_compute_a_fraction_of_all_scores_and_every_token_is_in_one() -> None:
    branches, seen = tree([22, *[40] * 8])
    bins = Bins.of(seen, branches, heads=9, groups=3, dtype=torch.float32)
    assert sorted(bins.queries[~bins.vacant].tolist()) == list(range(len(seen)))
    assert bins.mask.numel() < 9 * len(seen) ** 2 / 2
    assert bins.queries.flatten()[bins.places].tolist() == list(range(len(seen)))
    assert bins.keys.flatten()[bins.own].tolist() == list(range(len(seen)))


def test_tokens_of_no_branch_get_no_gradient_and_give_none() -> None:
    branches, seen = tree([4, 5, 3])
    seen = torch.nn.functional.pad(seen, (0, 6, 0, 6)) | torch.eye(18, dtype=torch.bool)
    bins = Bins.of(seen, branches, heads=HEADS, groups=GROUPS, dtype=torch.float64)
    generator = torch.Generator().manual_seed(9)
    given = [
        torch.randn(heads, 18, SIZE, generator=generator, dtype=torch.float64).requires_grad_()
        for heads in (HEADS, GROUPS, GROUPS)
    ]
    told = _InBranches.apply(*given, bins, 0.3)
    told.backward(torch.ones_like(told))  # of padding as well
    for part in given:
        assert part.grad is not None
        assert not part.grad[:, 12:].any()
    whole = [part.grad.clone() for part in given]
    for part in given:
        part.grad = None
    _InBranches.apply(*given, bins, 0.3)[:12].sum().backward()
    for part, one in zip(given, whole, strict=True):
        torch.testing.assert_close(part.grad, one)
