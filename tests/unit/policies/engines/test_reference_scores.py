"""Divergence from two lists of likeliest tokens, against the whole sum; what cannot be used is refused."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, rel_entr

from policies.engines.reference_scores import (
    TOP,
    Place,
    divergence,
    places,
    read_prompt_logprobs,
    read_tokens,
    summary,
)


def distribution(seed: int, size: int, spread: float) -> np.ndarray:
    return log_softmax(np.random.default_rng(seed).normal(0, spread, size))


def as_told(whole: np.ndarray, token: int = 0) -> Place:
    """What a server tells of it: the likeliest, and the token that stands there."""
    listed = {int(one): float(whole[one]) for one in [*np.argsort(-whole)[:TOP], token]}
    return Place(float(whole[token]), listed)


def exact(mine: np.ndarray, theirs: np.ndarray) -> float:
    return float(rel_entr(np.exp(mine), np.exp(theirs)).sum())


@pytest.mark.parametrize("seed", range(5))
def test_divergence_is_exact_where_the_lists_are_whole(seed: int) -> None:
    mine, theirs = distribution(seed, TOP, 2.0), distribution(seed + 100, TOP, 2.0)
    assert divergence(as_told(mine), as_told(theirs)) == pytest.approx(exact(mine, theirs))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 400), st.floats(0.1, 6), st.floats(0, 4), st.integers(0, 1))
def test_divergence_never_exceeds_the_exact_one(
    seed: int, size: int, spread: float, move: float, token: int
) -> None:
    theirs = distribution(seed, size, spread)
    mine = log_softmax(theirs + move * distribution(seed + 1, size, 1.0))
    found = divergence(as_told(mine, token), as_told(theirs, token))
    assert 0 <= found <= exact(mine, theirs) + 1e-6


@pytest.mark.parametrize("move", [0.3, 1.0])
def test_little_is_lost_where_a_few_tokens_hold_most_of_the_probability(move: float) -> None:
    wholes = [distribution(seed, 5000, 4.0) for seed in range(20)]
    moved = [log_softmax(one + move * distribution(seed + 50, 5000, 1.0)) for seed, one in enumerate(wholes)]
    found = sum(divergence(as_told(mine), as_told(one)) for mine, one in zip(moved, wholes, strict=True))
    whole = sum(exact(mine, one) for mine, one in zip(moved, wholes, strict=True))
    assert 0.5 * whole < found <= whole


def test_lists_without_a_common_token_are_far_apart() -> None:
    theirs, mine = np.full(1000, -12.0), np.full(1000, -12.0)
    theirs[:TOP], mine[500 : 500 + TOP] = 0.0, 0.0
    mine, theirs = log_softmax(mine), log_softmax(theirs)
    assert 5 < divergence(as_told(mine), as_told(theirs)) < exact(mine, theirs)


def test_summary_is_the_perplexity_of_the_told_tokens_and_the_mean() -> None:
    mine = [Place(told, {0: told, 1: float(np.log1p(-np.exp(told)))}) for told in (-1.0, -3.0)]
    assert summary(mine, mine) == (pytest.approx(np.exp(2.0)), 0.0)


ENTRY = {"5": {"logprob": -0.5}, "7": {"logprob": -1.5}}


@pytest.mark.parametrize(
    "entries",
    [
        [None],
        [None, None],
        [None, {"7": {"logprob": -1.0}}],
        [None, {"5": {"logprob": "high"}}],
        [None, {"5": -0.5}],
        [None, {"5": {"logprob": 3.0}}],
        [None, {"5": {"logprob": -0.1}, "7": {"logprob": -0.2}}],
        [None, {"5": {"logprob": float("nan")}}],
    ],
)
def test_entries_that_are_not_about_the_tokens_are_refused(entries: list[object]) -> None:
    assert places([None, ENTRY], [3, 5], 1) == [Place(-0.5, {5: -0.5, 7: -1.5})]
    with pytest.raises(ValueError):
        places(entries, [3, 5], 1)


def test_bodies_are_read_as_vllm_writes_them() -> None:
    assert read_tokens(httpx.Response(200, json={"count": 2, "tokens": [1, 2]})) == [1, 2]
    completion = {"choices": [{"text": "x", "prompt_logprobs": [None, ENTRY]}]}
    assert read_prompt_logprobs(httpx.Response(200, json=completion)) == [None, ENTRY]
    assert read_prompt_logprobs(httpx.Response(200, json={"choices": [{"text": "x"}]})) is None
    for body in ([], {"tokens": "12"}, {"tokens": ["1"]}):
        with pytest.raises(ValueError):
            read_tokens(httpx.Response(200, json=body))
    for body in ([], {}, {"choices": []}, {"choices": [{"prompt_logprobs": "many"}]}):
        with pytest.raises(ValueError):
            read_prompt_logprobs(httpx.Response(200, json=body))
