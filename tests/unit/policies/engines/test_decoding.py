"""The loop of a token at a time says what transformers' own says, and finds the largest that torch finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GenerationConfig

from policies.engines.decoding import (
    cache_for,
    cache_of,
    decode,
    decodes_plainly,
    end_tokens,
    laid_out,
    largest,
    likeliest,
)
from policies.engines.models import load_base
from policies.engines.shared_head import attend_to_heads

BEGINNING = [5, 9]
IDS = torch.arange(4, 44).view(4, 10)
MASK = torch.ones(4, 10, dtype=torch.long)
for row, start in enumerate((3, 0, 6, 1)):
    MASK[row, :start] = 0
    IDS[row, start : start + 2] = torch.tensor(BEGINNING)
PADDED = list(zip(IDS.tolist(), MASK.tolist(), strict=True))


def logits_of(rows: int, size: int, seed: int, kinds: int | None, dtype: torch.dtype) -> torch.Tensor:
    """`kinds`: of how many different numbers, so that many are equal."""
    generator = torch.Generator().manual_seed(seed)
    if kinds is not None:
        return torch.randint(kinds, (rows, size), generator=generator).to(dtype)
    return torch.randn(rows, size, generator=generator).to(dtype)


SIZES = st.sampled_from([5, 64, 100, 640, 8192, 49152 // 4])
KINDS = st.sampled_from([None, 1, 2, 50])
TYPES = st.sampled_from([torch.float32, torch.bfloat16])


@given(st.integers(1, 3), SIZES, st.integers(0, 99), KINDS, TYPES)
def test_greedy_choice_is_the_first_of_the_largest(
    rows: int, size: int, seed: int, kinds: int | None, dtype: torch.dtype
) -> None:
    logits = logits_of(rows, size, seed, kinds, dtype)
    first = [row.index(max(row)) for row in logits.tolist()]
    assert likeliest(logits).tolist() == first


@given(st.integers(1, 3), SIZES, st.integers(0, 99), KINDS, TYPES, st.sampled_from([1, 4, 20, 200]))
def test_largest_are_those_that_topk_finds(
    rows: int, size: int, seed: int, kinds: int | None, dtype: torch.dtype, count: int
) -> None:
    logits, count = logits_of(rows, size, seed, kinds, dtype), min(count, size)
    values, places = largest(logits, count)
    expected, _ = logits.float().topk(count)
    assert torch.equal(values, expected)
    assert torch.equal(logits.float().gather(1, places), values)
    assert all(len(set(row)) == count for row in places.tolist()), "none twice"


def test_what_is_no_number_is_not_passed_over() -> None:
    logits = torch.randn(1, 640)
    logits[0, 300] = float("nan")
    assert likeliest(logits).tolist() == logits.argmax(-1).tolist() == [300]


@pytest.mark.parametrize("head", ["none", "reserved", "shared"])
def test_answers_are_those_of_generate(tiny_model: Path, head: str) -> None:
    model, tokenizer = load_base(tiny_model, dtype="float32", device="cpu")
    pad = tokenizer.pad_token_id
    with torch.inference_mode():
        plain = model.generate(
            input_ids=IDS, attention_mask=MASK, max_new_tokens=6, do_sample=False, pad_token_id=pad
        )[:, 10:]
        # What a row says third ends its answer, so that rows end at different tokens.
        ends = {int(plain[1, 2]), *end_tokens(model, tokenizer)}
        expected = model.generate(
            input_ids=IDS,
            attention_mask=MASK,
            max_new_tokens=6,
            do_sample=False,
            pad_token_id=pad,
            eos_token_id=sorted(ends),
        )[:, 10:]
        rows = [[one for one, seen in zip(ids, mask, strict=True) if seen] for ids, mask in PADDED]
        begin = BEGINNING if head != "none" else []
        ids, mask = laid_out([row[len(begin) :] for row in rows], begin, pad, "cpu")
        known = cache_of(model, begin, "cpu") if begin else None
        shares = head == "shared" and attend_to_heads(model)
        assert shares == (head == "shared")
        cache = cache_for(known, len(rows), room=ids.shape[1] + 6, shares=shares)
        told = decode(model, ids, mask, cache, limit=6, choose=likeliest, ends=ends, pad=pad)
    assert decodes_plainly(model)
    assert told.tolist() == expected.tolist()
    assert (told[1] == pad).sum() >= 3


def test_it_ends_when_all_rows_have_ended(tiny_model: Path) -> None:
    model, tokenizer = load_base(tiny_model, dtype="float32", device="cpu")
    calls: list[int] = []

    def stop(logits: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return torch.full((len(logits),), 7)

    with torch.inference_mode():
        told = decode(model, IDS, MASK, None, limit=5, choose=stop, ends={7}, pad=tokenizer.pad_token_id)
    assert told.tolist() == [[7]] * 4
    assert len(calls) == 1


@pytest.mark.parametrize(
    "asked", [{"repetition_penalty": 1.3}, {"min_new_tokens": 3}, {"suppress_tokens": [5]}]
)
def test_a_model_whose_folder_asks_for_more_is_left_to_generate(
    tiny_model: Path, asked: dict[str, Any]
) -> None:
    model, _ = load_base(tiny_model, dtype="float32", device="cpu")
    model.generation_config = GenerationConfig(eos_token_id=2, pad_token_id=2, temperature=0.7, top_k=20)
    assert decodes_plainly(model)
    model.generation_config = GenerationConfig(eos_token_id=2, **asked)
    assert not decodes_plainly(model)


@pytest.mark.parametrize("told", [2, [2, 9], None])
def test_ends_are_those_of_the_folder_or_of_the_tokenizer(tiny_model: Path, told: Any) -> None:
    model, tokenizer = load_base(tiny_model, dtype="float32", device="cpu")
    model.generation_config.eos_token_id = told
    own = {tokenizer.eos_token_id}
    assert end_tokens(model, tokenizer) == (
        {2, 9} if isinstance(told, list) else own | ({2} if told else set())
    )
