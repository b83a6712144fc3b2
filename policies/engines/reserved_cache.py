"""Keys and values in room that is reserved once.

Transformers' own cache is concatenated anew for every token: with the embedded model and 128 answers at a
time, two fifths of the time went into copying it. Here a layer writes a token's keys and values into their
place and hands out a view.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class ReservedLayer(DynamicLayer):
    """A layer's cache with room for `room` tokens; it takes more where they do not suffice."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self._held: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of all tokens so far, (rows, heads, tokens, size), as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        held = self._with_room((key_states, value_states), end)
        for store, states in zip(held, (key_states, value_states), strict=True):
            store[:, :, start:end] = states
        self.keys, self.values = (store[:, :, :end] for store in held)
        return self.keys, self.values

    def _with_room(
        self, states: tuple[torch.Tensor, torch.Tensor], tokens: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        start, held = self.get_seq_length(), self._held
        if held is not None and tokens <= held[0].shape[2] and self._holds(held[0], states[0].shape[0]):
            return held
        # Heads of keys and of values need not be of one size.
        keys, values = (
            new.new_empty((*new.shape[:2], max(self._room, tokens), new.shape[3])) for new in states
        )
        if start:
            keys[:, :, :start], values[:, :, :start] = self.keys, self.values
        self._held = keys, values
        return self._held

    def _holds(self, store: torch.Tensor, rows: int) -> bool:
        """Rows may have been chosen or repeated since, and `keys` is then another tensor."""
        return store.shape[0] == rows and (
            self.get_seq_length() == 0 or self.keys.data_ptr() == store.data_ptr()
        )


def reserved_cache(head: DynamicCache, *, rows: int, room: int) -> DynamicCache:
    """A cache for `rows` conversations that all begin with `head` (a cache of one row, of plain layers), with
    `room` tokens each."""
    cache = DynamicCache()
    cache.layer_class_to_replicate = None
    for layer in head.layers:
        spread = ReservedLayer(room)
        if layer.get_seq_length():  # a layer that shares another's keys holds none
            spread.update(layer.keys.expand(rows, -1, -1, -1), layer.values.expand(rows, -1, -1, -1))
        cache.layers.append(spread)
    return cache
