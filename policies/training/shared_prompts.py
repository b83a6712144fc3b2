"""A pair's prompt is computed once: both answers stand behind it in one row, blind to each other.

DPO gives a model its chosen and its rejected answer as two rows that begin alike. Where prompts are longer
than the part of the answers that is learnt from, most of a step goes into computing the same prompt twice.
Here the two rows become one, [prompt, chosen, rejected], with positions and a mask that keep the rejected
answer from seeing the chosen one, and hidden states are put back into the two rows: the same numbers but
for rounding.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any

import torch

from policies.errors import TrainingError

# Decoders that do as a mask and positions say. Windows and recurrent states would not.
_KNOWN = frozenset({"llama", "mistral", "qwen2", "qwen3"})
_OF_ROWS = ("position_ids", "inputs_embeds", "past_key_values")  # would be of rows that are folded away


@dataclass(frozen=True)
class Twins:
    """Rows i and i + n of a batch of 2n, folded into row i.

    `input_ids`, `positions`: (n, width). `seen`: (n, 1, width, width), True where a row's token may look at
    another. `rows`, `columns`: (2n, length), where each token of the batch is found in the folded one.
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    seen: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor

    @classmethod
    def fold(cls, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Twins:
        """`input_ids`, `attention_mask`: (2n, length), padded on the right."""
        batch, length = input_ids.shape
        n, device = batch // 2, input_ids.device
        sizes = attention_mask.sum(1).tolist()
        alike = (input_ids[:n] == input_ids[n:]) & attention_mask[:n].bool() & attention_mask[n:].bool()
        shared = alike.long().cumprod(1).sum(1).tolist()
        widths = [sizes[i] + sizes[n + i] - shared[i] for i in range(n)]
        width = max(widths)
        ids = torch.zeros(n, width, dtype=input_ids.dtype, device=device)
        positions = torch.zeros(n, width, dtype=torch.long, device=device)
        # Padding looks at itself alone: a row of a mask without any sight has no softmax.
        seen = torch.eye(width, dtype=torch.bool, device=device).repeat(n, 1, 1, 1)
        columns = torch.arange(length, device=device).repeat(batch, 1)
        rows = torch.arange(n, device=device).repeat(2)[:, None].expand(batch, length)
        for i in range(n):
            first, second, common = sizes[i], sizes[n + i], shared[i]
            ids[i, :first] = input_ids[i, :first]
            ids[i, first : widths[i]] = input_ids[n + i, common:second]
            positions[i, :first] = torch.arange(first, device=device)
            positions[i, first : widths[i]] = torch.arange(common, second, device=device)
            seen[i, 0, : widths[i], : widths[i]] = torch.ones(
                widths[i], widths[i], dtype=torch.bool, device=device
            ).tril()
            seen[i, 0, first : widths[i], common:first] = False
            columns[n + i, common:] += first - common
        return cls(ids, positions, seen, rows, columns.clamp(max=width - 1))

    def unfold(self, hidden: torch.Tensor) -> torch.Tensor:
        """(n, width, size) → (2n, length, size). What stands at padding is of no meaning."""
        return hidden[self.rows, self.columns]


def share_prompts(model: Any) -> bool:
    """Let the decoder of a causal language model (or of a PEFT model around one) fold batches of pairs.

    The model answers for pairs only from then on: rows i and i + n belong together. False, and nothing is
    changed, where the architecture is not known to follow mask and positions alone.
    """
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = bare.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windowed = getattr(config, "sliding_window", None) is not None and getattr(
        config, "use_sliding_window", True
    )
    if config.model_type not in _KNOWN or kinds != {"full_attention"} or windowed:
        return False
    decoder = bare.base_model
    plain = decoder.forward

    def forward(
        self: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> Any:
        given = [name for name in _OF_ROWS if kwargs.pop(name, None) is not None]
        if attention_mask is None or attention_mask.dim() != 2 or input_ids.shape[0] % 2 or given:
            raise TrainingError(
                "shared prompts take an even number of rows with a mask each and nothing else of a row"
                + (f", not {', '.join(given)}" if given else "")
            )
        twins = Twins.fold(input_ids, attention_mask)
        blocked = torch.zeros(twins.seen.shape, dtype=self.dtype, device=input_ids.device)
        blocked.masked_fill_(~twins.seen, torch.finfo(self.dtype).min)
        told = plain(
            input_ids=twins.input_ids, attention_mask=blocked, position_ids=twins.positions, **kwargs
        )
        told.last_hidden_state = twins.unfold(told.last_hidden_state)
        return told

    decoder.forward = types.MethodType(forward, decoder)
    return True
