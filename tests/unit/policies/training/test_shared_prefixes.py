"""Packing rows that begin alike changes no number: not an answer's log-probability, not a gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM, MistralConfig, MistralForCausalLM

from policies.engines.models import frozen_modules, load_base
from policies.errors import TrainingError
from policies.training.lower_layers import LowerLayers
from policies.training.shared_prefixes import Packed, share_prefixes


def batch_of(
    pairs: list[tuple[int, int, int]], system: int = 0, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, mask) of rows [prompt + chosen …, prompt + rejected …]; lengths as (prompt, chosen, rejected).

    All prompts begin with the same `system` tokens.
    """
    torch.manual_seed(seed)
    common = torch.randint(3, 300, (system,))
    prompts = [torch.cat([common, torch.randint(3, 300, (one,))]) for one, _, _ in pairs]
    rows = [
        torch.cat([prompt, torch.randint(3, 300, (lengths[side],))])
        for side in (1, 2)
        for prompt, lengths in zip(prompts, pairs, strict=True)
    ]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.tensor([[1] * len(row) + [0] * (ids.shape[1] - len(row)) for row in rows])
    return ids, mask


SHAPES = [
    [(5, 3, 4)],
    [(7, 2, 9), (3, 8, 1)],
    [(1, 6, 6), (12, 1, 1), (4, 5, 2)],
    [(6, 3, 0), (2, 0, 5)],  # one row is the beginning of the other
]


def hidden(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    told = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    return told[mask.bool()]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("system", [0, 4])
@pytest.mark.parametrize("pairs", SHAPES)
def test_every_token_gets_the_hidden_state_that_it_has_in_a_row_of_its_own(
    tiny_model: Path, pairs: list[tuple[int, int, int]], system: int, attention: str
) -> None:
    model, _ = load_base(tiny_model, dtype="float32", device="cpu")
    model.set_attn_implementation(attention)
    ids, mask = batch_of(pairs, system)
    with torch.no_grad():
        apart = hidden(model, ids, mask)
        assert share_prefixes(model)
        folded = hidden(model, ids, mask)
    torch.testing.assert_close(folded, apart, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("system", [0, 4])
def test_gradients_are_those_of_rows_of_their_own(tiny_model: Path, system: int, attention: str) -> None:
    ids, mask = batch_of([(7, 2, 9), (3, 8, 1), (11, 1, 1)], system)
    found = []
    for shared in (False, True):
        model, _ = load_base(tiny_model, dtype="float32", device="cpu")
        model.set_attn_implementation(attention)
        assert not shared or share_prefixes(model)
        hidden(model, ids, mask).pow(3).sum().backward()
        found.append({name: one.grad for name, one in model.named_parameters() if one.grad is not None})
    apart, folded = found
    assert apart
    assert apart.keys() == folded.keys()
    for name, gradient in apart.items():
        torch.testing.assert_close(folded[name], gradient, atol=1e-3, rtol=1e-4, msg=name)


def test_of_prompts_and_of_their_common_beginning_every_token_is_computed_once() -> None:
    ids, mask = batch_of([(20, 3, 4), (30, 2, 2)], system=10)
    packed = Packed.of(ids, mask)
    assert packed.input_ids.shape == (1, 10 + 20 + 3 + 4 + 30 + 2 + 2)
    assert ids.numel() == 4 * 42


def test_equal_rows_are_computed_once() -> None:
    ids = torch.tensor([[5, 6, 7]] * 3)
    packed = Packed.of(ids, torch.ones_like(ids))
    assert packed.input_ids.tolist() == [[5, 6, 7]]
    assert packed.unpack(packed.input_ids[..., None])[..., 0].tolist() == ids.tolist()


@pytest.mark.parametrize("pairs", SHAPES)
@pytest.mark.parametrize("widest", [1, 16, 40, 512])
def test_every_token_sees_its_own_row_and_rows_are_as_wide_as_is_wanted(
    pairs: list[tuple[int, int, int]], widest: int
) -> None:
    ids, mask = batch_of(pairs, system=4)
    packed = Packed.of(ids, mask, widest=widest)
    for row, size in enumerate(mask.sum(1).tolist()):
        at, path = packed.rows[row, 0], packed.columns[row, :size]
        assert packed.input_ids[at, path].tolist() == ids[row, :size].tolist()
        assert packed.positions[at, path].tolist() == list(range(size))
        for place, column in enumerate(path):
            assert packed.seen[at, 0, column].nonzero()[:, 0].tolist() == sorted(path[: place + 1].tolist())
    # A row is begun anew where the next one would stand out by more than half of itself.
    assert packed.input_ids.shape[1] <= widest + ids.shape[1]


def test_what_is_not_rows_alone_is_an_error_and_never_answered_wrongly(tiny_model: Path) -> None:
    model, _ = load_base(tiny_model, dtype="float32", device="cpu")
    assert share_prefixes(model)
    ids, mask = batch_of([(5, 3, 4), (2, 2, 2)])
    for given in ({"input_ids": ids}, {"input_ids": ids, "attention_mask": mask, "position_ids": mask}):
        with pytest.raises(TrainingError, match="rows with a mask each"):
            model.base_model(**given)


def test_a_decoder_that_masks_by_its_own_rules_is_left_alone() -> None:
    config = MistralConfig(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        sliding_window=4,
    )
    windowed = MistralForCausalLM(config)
    before = windowed.base_model.forward
    assert not share_prefixes(windowed)
    assert windowed.base_model.forward == before
    config.sliding_window = None
    assert share_prefixes(MistralForCausalLM(config))
    unknown = LlamaForCausalLM.__new__(LlamaForCausalLM)
    torch.nn.Module.__init__(unknown)
    unknown.config = MistralConfig(sliding_window=None)
    unknown.config.model_type = "brand_new"
    assert not share_prefixes(unknown)


def test_a_packed_batch_has_no_row_more_than_its_tokens_need() -> None:
    # A third row for the last few tokens would be padded to the width of the others.
    ids, mask = batch_of([(11, 3, 4)] * 9, system=5)
    packed = Packed.of(ids, mask, widest=100)
    needed = 5 + 9 * (11 + 3 + 4)
    assert packed.input_ids.shape[0] == -(-needed // 100)
    assert packed.input_ids.numel() < 1.2 * needed


def lora_above(model: Any, frozen: int, *, seed: int = 0) -> Any:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    adapted = get_peft_model(
        model,
        LoraConfig(
            r=4,
            target_modules="all-linear",
            exclude_modules=frozen_modules(model, frozen),
            init_lora_weights=False,
            task_type="CAUSAL_LM",
        ),
    )
    return adapted.eval()


@pytest.mark.parametrize("frozen", [0, 1])
def test_layers_below_the_first_trained_one_are_computed_once_a_row(tiny_model: Path, frozen: int) -> None:
    ids, mask = batch_of([(7, 2, 9), (3, 8, 1)], system=3)
    found = []
    for shared in (False, True):
        model, _ = load_base(tiny_model, dtype="float32", device="cpu")
        model = lora_above(model, frozen)
        bare, calls = model.get_base_model(), list[tuple[int, ...]]()
        if shared:
            assert share_prefixes(model)
            bare.model.layers[0].register_forward_pre_hook(
                lambda _layer, given, calls=calls: calls.append(given[0].shape)
            )
        with torch.no_grad(), model.disable_adapter():
            reference = hidden(bare, ids, mask)
        again = hidden(bare, ids[[2, 0]], mask[[2, 0]])  # in another order, among others
        again.pow(2).sum().backward()
        gradients = [value.grad for value in model.parameters() if value.grad is not None]
        found.append((reference, again.detach(), torch.cat([one.flatten() for one in gradients])))
        assert not shared or len(calls) == (1 if frozen else 2)
        assert len(bare.model.layers) == bare.config.num_hidden_layers
    for apart, folded in zip(*found, strict=True):
        torch.testing.assert_close(folded, apart, atol=1e-4, rtol=1e-4)
    assert found[0][2].abs().max() > 0


def test_lower_layers_that_an_adapter_moves_or_that_are_trained_are_not_kept(tiny_model: Path) -> None:
    model, _ = load_base(tiny_model, dtype="float32", device="cpu")
    assert LowerLayers(model.base_model).count == 0  # all weights are trained
    model.requires_grad_(requires_grad=False)
    assert LowerLayers(model.base_model).count == model.config.num_hidden_layers
    adapted = lora_above(model, 1)
    adapted.requires_grad_(requires_grad=False)  # an adapter may be switched off
    assert LowerLayers(adapted.get_base_model().base_model).count == 1
    # What the lowest layer is given changes with every step then.
    embedded = get_peft_model(
        load_base(tiny_model, dtype="float32", device="cpu")[0],
        LoraConfig(r=2, target_modules=["embed_tokens"], task_type="CAUSAL_LM"),
    )
    assert LowerLayers(embedded.get_base_model().base_model).count == 0


def test_beginnings_of_rows_that_are_kept_are_not_computed_again(tiny_model: Path) -> None:
    ids, mask = batch_of([(7, 2, 9), (3, 8, 1)], system=3)
    rows = [row[:size].tolist() for row, size in zip(ids, mask.sum(1).tolist(), strict=True)]
    short = [len(row) - 1 for row in rows]
    begun = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row[:size]) for row, size in zip(rows, short, strict=True)], batch_first=True
    )
    seen = torch.tensor([[1] * size + [0] * (begun.shape[1] - size) for size in short])
    model, _ = load_base(tiny_model, dtype="float32", device="cpu")
    bare = lora_above(model, 1).get_base_model()
    with torch.no_grad():
        apart = hidden(bare, begun, seen)
        prefixes = share_prefixes(bare)
        assert prefixes is not None
        calls: list[tuple[int, ...]] = []
        bare.model.layers[0].register_forward_pre_hook(lambda _layer, given: calls.append(given[0].shape))
        prefixes.keep_lower(rows, short)
        torch.testing.assert_close(hidden(bare, begun, seen), apart, atol=1e-5, rtol=1e-5)
        hidden(bare, ids, mask)
    assert len(calls) == 1


def test_rows_beyond_the_memory_that_is_granted_are_computed_anew(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("policies.training.lower_layers._MOST_BYTES", 0)
    model, _ = load_base(tiny_model, dtype="float32", device="cpu")
    ids, mask = batch_of([(7, 2, 9)])
    with torch.no_grad():
        apart = hidden(model, ids, mask)
        model = lora_above(model, 1)
        assert share_prefixes(model)
        with model.disable_adapter():
            for _ in range(2):
                torch.testing.assert_close(
                    hidden(model.get_base_model(), ids, mask), apart, atol=1e-5, rtol=1e-5
                )
