"""What rows of a batch begin with alike is computed once.

DPO gives a model its chosen and its rejected answer as two rows with the same prompt, and the prompts of all
rows begin with the same system message. Where the part of the answers that is learnt from is short, most of a
step goes into computing the same tokens again. Here the rows become branches of one tree, laid out in as few
rows as are wide enough, with positions and a mask that let each token see only what stands before it in its
own row; hidden states are put back into the rows they belong to: the same numbers but for rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from policies.engines.models import PLAIN_DECODERS, bare_model
from policies.engines.shapes import round_up, shape_step
from policies.errors import TrainingError
from policies.training.branch_attention import Bins, attend_in_branches
from policies.training.lower_layers import LowerLayers
from policies.training.written_layer import write_out_layers

_OF_ROWS = ("position_ids", "inputs_embeds", "past_key_values")  # would be of rows that are packed away
_WIDEST = 512  # tokens, where every token of a packed row is compared with every other, needed or not
_STEP = 32  # tokens
_ONE_ROW = 1 << 20  # tokens: where each is compared with its own branch alone


class _Branches:
    """Rows that share one packed row: tokens in the order in which they were added, and who sees whom."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.paths: list[torch.Tensor] = []  # of each row added, where its tokens stand
        self._segments: list[tuple[int, int, torch.Tensor]] = []  # new tokens from, to; what goes before them

    def add(self, row: list[int], shared: int) -> None:
        """`row`, whose first `shared` tokens are those of the row added last."""
        trunk = self.paths[-1][:shared] if shared else torch.empty(0, dtype=torch.long)
        start = len(self.ids)
        self.ids += row[shared:]
        self.positions += range(shared, len(row))
        self._segments.append((start, len(self.ids), trunk))
        self.paths.append(torch.cat([trunk, torch.arange(start, len(self.ids))]))

    def branches(self) -> list[tuple[int, int]]:
        """New tokens as (from, to): those that all rows begin with, then those of rows that share more."""
        trunk = min((len(before) for _, _, before in self._segments[1:]), default=0)
        borders = [trunk, *(start for start, _, before in self._segments[1:] if len(before) == trunk)]
        return [(0, trunk), *itertools.pairwise([*borders, len(self.ids)])]

    def sight(self, width: int) -> torch.Tensor:
        """(width, width), True where a token may look at another."""
        # Padding looks at itself alone: a row of a mask without any sight has no softmax.
        seen = torch.eye(width, dtype=torch.bool)
        for start, end, trunk in self._segments:
            seen[start:end, trunk] = True
            seen[start:end, start:end] = torch.ones(end - start, end - start, dtype=torch.bool).tril()
        return seen


@dataclass(frozen=True)
class Packed:
    """A batch whose rows share their beginnings.

    `input_ids`, `positions`: (n, width). `seen`: (n, 1, width, width), True where a row's token may look at
    another. `rows`, `columns`: those of the batch's shape, where each of its tokens stands in the packed one.
    `branches`: of each packed row, see `_Branches.branches`.
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    seen: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    branches: Sequence[Sequence[tuple[int, int]]]

    @classmethod
    def of(
        cls, input_ids: torch.Tensor, attention_mask: torch.Tensor, widest: int = _WIDEST, step: int = 1
    ) -> Packed:
        """`input_ids`, `attention_mask`: (batch, length), padded on the right.

        A packed row is about `widest` tokens wide, or as wide as one row of the batch and its like need: what
        begins alike on both sides of a border is computed on both. Its width is a multiple of `step`.
        """
        sizes = attention_mask.sum(1).tolist()
        texts = [row[:size] for row, size in zip(input_ids.tolist(), sizes, strict=True)]
        order = sorted(range(len(texts)), key=lambda i: texts[i])  # what begins alike comes together
        shared = [0, *(parting(texts[i], texts[j]) for i, j in itertools.pairwise(order))]
        total = sum(len(texts[i]) - common for i, common in zip(order, shared, strict=True))
        planned = -(-total // widest)
        room = -(-total // planned)  # an even share; a row more for the rest would be as wide as all others
        packed = [_Branches()]
        rows = torch.zeros(input_ids.shape, dtype=torch.long)
        columns = torch.zeros(input_ids.shape, dtype=torch.long)
        for i, common in zip(order, shared, strict=True):
            longer = len(packed[-1].ids) + (len(texts[i]) - common) // 2
            if packed[-1].ids and longer > room and len(packed) < planned:
                packed.append(_Branches())
            packed[-1].add(texts[i], common if packed[-1].ids else 0)
            rows[i] = len(packed) - 1
            columns[i, : sizes[i]] = packed[-1].paths[-1]
        width = round_up(max(len(one.ids) for one in packed), step)
        ids, positions = (
            torch.tensor([row + [0] * (width - len(row)) for row in part])
            for part in ([one.ids for one in packed], [one.positions for one in packed])
        )
        seen = torch.stack([one.sight(width) for one in packed])[:, None]
        device = input_ids.device
        ids, positions, seen, rows, columns = (
            one.to(device) for one in (ids, positions, seen, rows, columns)
        )
        return cls(ids, positions, seen, rows, columns, [one.branches() for one in packed])

    def pack(self, states: Sequence[torch.Tensor]) -> torch.Tensor:
        """(tokens, size) of each of the batch's rows → (n, width, size); 0 where there is no token."""
        shape = (*self.input_ids.shape, states[0].shape[-1])
        hidden = torch.zeros(shape, dtype=states[0].dtype, device=self.input_ids.device)
        for row, of_row in enumerate(states):
            hidden[self.rows[row, 0], self.columns[row, : len(of_row)]] = of_row
        return hidden

    def unpack(self, hidden: torch.Tensor) -> torch.Tensor:
        """(n, width, size) → (batch, length, size). What stands at padding is of no meaning."""
        return hidden[self.rows, self.columns]


def parting(one: Sequence[int], other: Sequence[int]) -> int:
    """Position of the first token that differs; the shorter one's length where it begins the other."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


class SharedPrefixes:
    """A decoder's forward over packed batches, in place of its own."""

    def __init__(self, bare: Any) -> None:
        """`bare`: a causal language model, maybe with adapters in its layers."""
        self._config, self._decoder, self._plain = bare.config, bare.base_model, bare.base_model.forward
        self._lower = LowerLayers(self._decoder)
        self._in_branches = attend_in_branches(bare)
        if self._in_branches:
            write_out_layers(self._decoder)

    def keep_lower(self, rows: Sequence[Sequence[int]], openings: Sequence[int]) -> None:
        """Compute now what the lower layers say of `rows`, and know it of so many first tokens of each, too.

        For who first needs the beginnings alone of what is needed whole later. Nothing off a CPU.
        """
        if self._decoder.device.type != "cpu" or not self._lower.count:
            return
        ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row)) for row in rows], batch_first=True)
        self._from_lower([tuple(row) for row in rows], *self._packed(ids, mask.long()))
        self._lower.know_beginnings([tuple(row) for row in rows], openings)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> Any:
        """What the decoder says of `input_ids` and `attention_mask`, (batch, length), padded on the right."""
        given = [name for name in _OF_ROWS if kwargs.pop(name, None) is not None]
        if attention_mask is None or attention_mask.dim() != 2 or given:
            raise TrainingError(
                "shared prefixes take rows with a mask each and nothing else of a row"
                + (f", not {', '.join(given)}" if given else "")
            )
        packed, sight = self._packed(input_ids, attention_mask)
        kwargs |= sight
        # A GPU has better uses for its memory than what it computes in no time.
        if input_ids.device.type == "cpu" and self._lower.count:
            sizes = attention_mask.sum(1).tolist()
            rows = [tuple(row[:size]) for row, size in zip(input_ids.tolist(), sizes, strict=True)]
            hidden = self._from_lower(rows, packed, kwargs)
            with self._lower.skipped():
                told = self._plain(inputs_embeds=hidden, **kwargs)
        else:
            told = self._plain(input_ids=packed.input_ids, **kwargs)
        told.last_hidden_state = packed.unpack(told.last_hidden_state)
        return told

    def _packed(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[Packed, dict[str, Any]]:
        """The batch, and what the decoder is given with it."""
        dtype = self._decoder.dtype
        packed = Packed.of(
            input_ids,
            attention_mask,
            widest=_ONE_ROW if self._in_branches else _WIDEST,
            step=shape_step(input_ids.device, dtype, _STEP),
        )
        told: dict[str, Any] = {"position_ids": packed.positions}
        if self._in_branches:
            bins = Bins.of(
                packed.seen[0, 0],
                packed.branches[0],
                heads=self._config.num_attention_heads,
                groups=self._config.num_key_value_heads,
                dtype=dtype,
            )
            # In four dimensions a mask is taken as it is; none, and the decoder would make one of its own.
            return packed, told | {"attention_mask": bins.mask[None], "branches": bins}
        blocked = torch.zeros(packed.seen.shape, dtype=dtype, device=packed.seen.device)
        return packed, told | {"attention_mask": blocked.masked_fill_(~packed.seen, torch.finfo(dtype).min)}

    def _from_lower(
        self, rows: Sequence[tuple[int, ...]], packed: Packed, given: dict[str, Any]
    ) -> torch.Tensor:
        """What enters the first trained layer, (n, width, size)."""
        states = self._lower.kept(rows)
        if states is not None:
            return packed.pack(states)
        with torch.no_grad(), self._lower.alone():
            hidden: torch.Tensor = self._plain(input_ids=packed.input_ids, **given).last_hidden_state
        self._lower.keep(rows, packed.unpack(hidden))
        return hidden


@contextmanager
def each_row_alone(bare: Any) -> Iterator[None]:
    """Within it the decoder takes rows as before `share_prefixes`, with a cache: to have answers written."""
    decoder, attention = bare.base_model, bare.config._attn_implementation
    packed = vars(decoder).pop("forward", None)
    if packed is not None:
        bare.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        if packed is not None:
            decoder.forward = packed
        if bare.config._attn_implementation != attention:
            bare.set_attn_implementation(attention)


def share_prefixes(model: Any) -> SharedPrefixes | None:
    """Let the decoder of a causal language model (or of a PEFT model around one) pack its batches.

    None, and nothing is changed, where the architecture is not known to follow mask and positions alone.
    """
    bare = bare_model(model)
    config = bare.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windowed = getattr(config, "sliding_window", None) is not None and getattr(
        config, "use_sliding_window", True
    )
    if config.model_type not in PLAIN_DECODERS or kinds != {"full_attention"} or windowed:
        return None
    shared = SharedPrefixes(bare)
    bare.base_model.forward = shared.forward
    return shared
