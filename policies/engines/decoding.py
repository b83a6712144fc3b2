"""A token at a time: the loop of answering, and what a token is chosen by.

Of a small model's step a quarter went into what transformers' `generate` does around it on a CPU: logits
copied, masked and copied again, a search for the largest over the whole vocabulary, row by row. Here the
largest are found among those chunks of the vocabulary that can hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicLayer

from policies.engines.answering_layers import for_last_tokens
from policies.engines.models import PLAIN_DECODERS
from policies.engines.reserved_cache import reserved_cache
from policies.engines.shared_head import shared_head_cache

Choose = Callable[[torch.Tensor], torch.Tensor]  # logits (rows, vocabulary) → token ids (rows,)

_CHUNKS = (64, 8)  # tokens, first and then among those that are left
# Of a generation configuration: what says where answers end, and what greedy answers do not look at.
_HEEDED = frozenset(
    {"_from_model_config", "bos_token_id", "eos_token_id", "pad_token_id", "transformers_version"}
    | {"do_sample", "temperature", "top_k", "top_p", "min_p", "max_length", "max_new_tokens", "use_cache"}
)


def decodes_plainly(model: Any) -> bool:
    """Whether `decode` says what `model.generate` would: a plain decoder, no penalties or forced tokens."""
    asked = {name for name, value in model.generation_config.to_diff_dict().items() if value}
    return model.config.model_type in PLAIN_DECODERS and asked <= _HEEDED


def decode(
    model: Any,
    ids: torch.Tensor,
    mask: torch.Tensor,
    cache: Any | None,
    *,
    limit: int,
    choose: Choose,
    ends: Collection[int],
    pad: int,
) -> torch.Tensor:
    """(rows, tokens): the answers, at most `limit` tokens each, `pad` behind the first of `ends`.

    `ids`, `mask`: (rows, width), of what is asked; padding may stand anywhere before a row's last token.
    `cache`: of its first tokens, the same for all rows, or None.
    """
    rows, width = ids.shape
    known = cache.get_seq_length() if cache is not None else 0
    whole = torch.cat((mask, mask.new_ones(rows, limit)), 1)
    positions = whole.cumsum(-1).sub_(1).clamp_min_(0)
    finished = torch.zeros(rows, dtype=torch.bool, device=ids.device)
    stops = torch.tensor(sorted(ends), device=ids.device)
    told: list[torch.Tensor] = []
    step, told_alone = ids[:, known:], for_last_tokens(model.base_model)
    for end in range(width, width + limit):
        output = model(
            input_ids=step,
            attention_mask=whole[:, :end],
            position_ids=positions[:, end - step.shape[1] : end],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **told_alone,
        )
        cache = output.past_key_values
        tokens = choose(output.logits[:, -1]).masked_fill(finished, pad)
        told.append(tokens)
        finished = finished | torch.isin(tokens, stops)
        if bool(finished.all()):
            break
        step = tokens[:, None]
    return torch.stack(told, 1)


def laid_out(
    rows: Sequence[Sequence[int]], head: Sequence[int], pad: int, device: str | torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask (rows, width): `head`, then each row, padded between the two."""
    width = max(map(len, rows))
    ids = [[*head, *[pad] * (width - len(row)), *row] for row in rows]
    mask = [[1] * len(head) + [0] * (width - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def cache_of(model: Any, head: Sequence[int], device: str | torch.device) -> Any | None:
    """Keys and values of what all rows begin with, for one row; differentiable outside inference mode.

    None where that is nothing, and where a layer keeps anything but every token's keys and values: between
    head and row stands padding, which would take places of a sliding window or change a recurrent state.
    """
    if not head:
        return None
    ids = torch.tensor([list(head)], device=device)
    cache = model(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values
    return cache if all(type(layer) is DynamicLayer for layer in getattr(cache, "layers", ())) else None


def cache_for(head_cache: Any | None, rows: int, *, room: int, shares: bool) -> Any | None:
    """A cache for `rows` conversations that begin with that of `head_cache`, with `room` tokens each besides.

    `shares`: the model attends to a head that all rows share (policies.engines.shared_head).
    """
    if head_cache is None:
        return None
    shared = shared_head_cache(head_cache, room=room) if shares else None
    return shared or reserved_cache(head_cache, rows=rows, room=head_cache.get_seq_length() + room)


def likeliest(logits: torch.Tensor) -> torch.Tensor:
    """Greedy: of each row (rows, vocabulary) the place of the largest, the first of equals."""
    size = _CHUNKS[0]
    if logits.shape[-1] % size or logits.device.type != "cpu":
        return logits.argmax(-1)
    chunks = logits.float().view(len(logits), -1, size)
    best = chunks.amax(-1).argmax(-1)
    return best * size + chunks[torch.arange(len(chunks)), best].argmax(-1)


def largest(logits: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """As `logits.float().topk(count)`: values and places (rows, count), the largest first.

    The `count` largest stand in at most as many chunks, and those chunks have the largest maxima.
    """
    values, places = logits.float(), None
    for size in _CHUNKS:
        if values.shape[-1] % size or values.shape[-1] // size <= 2 * count or values.device.type != "cpu":
            continue
        values, kept = _narrowed(values, count, size)
        places = kept if places is None else places.gather(-1, kept)
    found, at = values.topk(count, dim=-1)
    return found, at if places is None else places.gather(-1, at)


def _narrowed(values: torch.Tensor, count: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` chunks of each row that hold its largest: values and places (rows, count x size)."""
    rows, chunks = len(values), values.shape[-1] // size
    best = values.view(rows, chunks, size).amax(-1).topk(count, dim=-1, sorted=False).indices
    of_all = (best + torch.arange(rows)[:, None] * chunks).view(-1)
    kept = values.view(-1, size).index_select(0, of_all).view(rows, -1)
    return kept, (best[..., None] * size + torch.arange(size)).view(rows, -1)


def end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Ids that end an answer."""
    ends = model.generation_config.eos_token_id
    several = ends if isinstance(ends, list) else [ends, tokenizer.eos_token_id]
    return {int(one) for one in several if one is not None}
