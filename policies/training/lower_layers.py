"""Layers below the first one that is trained say the same of a row at every pass: once is enough.

The reference's log-probabilities are computed over all rows before training, and rows come again with every
epoch. What leaves the lower layers is kept from the first time, some tens of megabytes for a small model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

_MOST_BYTES = 1 << 30  # of hidden states; rows beyond that are computed anew


class LowerLayers:
    """Hidden states below the first trained layer of a decoder, by the ids of their row."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._kept: dict[tuple[int, ...], torch.Tensor] = {}
        self._bytes = 0

    @property
    def count(self) -> int:
        """How many of the lowest layers are neither trained nor adapted, whichever adapter is active; 0 where
        what they are given is."""
        if _moves(self._decoder.embed_tokens):
            return 0
        return next(
            (at for at, layer in enumerate(self._decoder.layers) if _moves(layer)), len(self._decoder.layers)
        )

    def kept(self, rows: Sequence[tuple[int, ...]]) -> list[torch.Tensor] | None:
        """(tokens, size) of each row, or None where one of them has not been seen."""
        found = [self._kept[row] for row in rows if row in self._kept]
        return found if len(found) == len(rows) else None

    def keep(self, rows: Sequence[tuple[int, ...]], hidden: torch.Tensor) -> None:
        """`hidden` (rows, tokens, size), padded on the right."""
        for row, states in zip(rows, hidden, strict=True):
            states = states[: len(row)].clone()
            if row not in self._kept and self._bytes + states.nbytes <= _MOST_BYTES:
                self._kept[row] = states
                self._bytes += states.nbytes

    def know_beginnings(self, rows: Sequence[tuple[int, ...]], sizes: Sequence[int]) -> None:
        """The first so many tokens of kept rows are rows as well: a decoder never looks ahead."""
        for row, size in zip(rows, sizes, strict=True):
            if row in self._kept:
                self._kept.setdefault(row[:size], self._kept[row][:size])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within it the decoder ends below its first trained layer, without the norm of its last one."""
        with self._instead(self._decoder.layers[: self.count], torch.nn.Identity()):
            yield

    @contextmanager
    def skipped(self) -> Iterator[None]:
        """Within it the decoder begins at its first trained layer."""
        with self._instead(self._decoder.layers[self.count :], self._decoder.norm):
            yield

    @contextmanager
    def _instead(self, layers: Any, norm: Any) -> Iterator[None]:
        before = self._decoder.layers, self._decoder.norm
        self._decoder.layers, self._decoder.norm = layers, norm
        try:
            yield
        finally:
            self._decoder.layers, self._decoder.norm = before


def _moves(layer: Any) -> bool:
    return any("lora_" in name or value.requires_grad for name, value in layer.named_parameters())
