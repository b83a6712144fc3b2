"""A cache with reserved room holds what transformers' own would hold."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from policies.engines.reserved_cache import ReservedLayer, reserved_cache


def states(rows: int, tokens: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    return (
        torch.randn(rows, 2, tokens, 4, generator=made),
        torch.randn(rows, 2, tokens, 4, generator=made),
    )


@pytest.mark.parametrize("room", [1, 5, 9, 40], ids=lambda room: f"room for {room}")
def test_it_holds_what_a_concatenated_cache_holds_whatever_its_room(room: int) -> None:
    plain, reserved = DynamicLayer(), ReservedLayer(room)
    for number, tokens in enumerate((5, 1, 1, 3, 1)):
        given = states(3, tokens, number)
        for ours, theirs in zip(reserved.update(*given), plain.update(*given), strict=True):
            assert torch.equal(ours, theirs)
        assert reserved.get_seq_length() == plain.get_seq_length()


def test_what_a_layer_held_before_does_not_change_when_it_goes_on() -> None:
    layer = ReservedLayer(20)
    before, _ = layer.update(*states(2, 3, 0))
    kept = before.clone()
    layer.update(*states(2, 4, 1))
    assert torch.equal(before, kept)


@pytest.mark.parametrize("change", ["select", "repeat", "crop"])
def test_rows_may_be_chosen_repeated_or_cut_between_tokens(change: str) -> None:
    plain, reserved = DynamicLayer(), ReservedLayer(20)
    for layer in (plain, reserved):
        layer.update(*states(3, 4, 0))
        if change == "select":
            layer.batch_select_indices(torch.tensor([2, 0]))
        elif change == "repeat":
            layer.batch_repeat_interleave(2)
        else:
            layer.crop(-2)
        layer.update(*states(plain.keys.shape[0], 1, 1))
    assert torch.equal(reserved.keys, plain.keys)
    assert torch.equal(reserved.values, plain.values)


def test_a_head_is_spread_over_rows_and_stays_as_it_was() -> None:
    head = DynamicCache()
    for layer in range(2):
        head.update(*states(1, 6, layer), layer)
    spread = reserved_cache(head, rows=3, room=10)
    more = states(3, 1, 9)
    keys, _ = spread.update(*more, 1)
    assert torch.equal(keys[:, :, :6], head.layers[1].keys.expand(3, -1, -1, -1))
    assert torch.equal(keys[:, :, 6:], more[0])
    assert torch.equal(head.layers[1].keys, states(1, 6, 1)[0])
    assert (head.get_seq_length(), spread.get_seq_length(0), spread.get_seq_length(1)) == (6, 6, 7)


def test_within_its_room_nothing_is_copied_and_beyond_it_once() -> None:
    layer = ReservedLayer(8)
    places = []
    for number, tokens in enumerate((5, 1, 1, 1, 1, 1)):
        layer.update(*states(2, tokens, number))
        places.append(layer.keys.data_ptr())
    assert len(set(places[:4])) == 1
    assert places[4] != places[0]


def test_values_may_be_of_another_size_than_keys() -> None:
    plain, reserved = DynamicLayer(), ReservedLayer(6)
    for seed in range(3):
        keys, values = states(2, 3, seed)[0], states(2, 3, seed + 9)[1][..., :2]
        for ours, theirs in zip(reserved.update(keys, values), plain.update(keys, values), strict=True):
            assert torch.equal(ours, theirs)


def test_a_layer_without_keys_of_its_own_stays_empty() -> None:
    head = DynamicCache()
    head.layers = [DynamicLayer()]
    assert reserved_cache(head, rows=3, room=8).get_seq_length() == 0
