"""Is a policy still the model it was? Perplexity on reference answers, and divergence from the base model.

A candidate that refuses in gibberish scores well on safety; it does not on these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from policies.engines.models import PLAIN_DECODERS, bare_model
from policies.records import Policy

if TYPE_CHECKING:
    from policies.engines.transformers_engine import TransformersEngine

_BATCH = 8
_MOST_BYTES = 1 << 28  # of the base's hidden states; what is beyond is computed anew

Batch = Sequence[tuple[str, str]]


class BaseStates:
    """What the base model makes of reference answers, kept: every policy is compared with the same."""

    def __init__(self) -> None:
        self._kept: dict[tuple[tuple[str, str], ...], torch.Tensor] = {}

    def of(self, batch: Batch, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """What `_states` told of `batch`, or tells now."""
        key = tuple(batch)
        if key not in self._kept:
            states = compute()
            if sum(one.nbytes for one in list(self._kept.values())) + states.nbytes > _MOST_BYTES:
                return states
            self._kept[key] = states
        return self._kept[key]


def fidelity(
    engine: TransformersEngine, policy: Policy, references: Sequence[tuple[str, str]]
) -> tuple[float, float]:
    """(perplexity, mean KL(policy ‖ base) in nats a token) over the answers of (prompt, answer) pairs."""
    model, base = (bare_model(engine.model_for(one)) for one in (policy, Policy(policy.base_digest)))
    alike = sorted(references, key=lambda pair: len(pair[0]) + len(pair[1]))  # padding costs as much as text
    batches = [alike[start : start + _BATCH] for start in range(0, len(alike), _BATCH)]
    parts = list(engine.lanes.map(lambda batch: _sums(engine, model, base, batch), batches))
    surprise, divergence, tokens = map(sum, zip(*parts, strict=True))
    return math.exp(min(surprise / tokens, 700.0)), divergence / tokens


@torch.inference_mode()
def _sums(engine: TransformersEngine, model: Any, base: Any, batch: Batch) -> tuple[float, float, int]:
    """Surprise and divergence in nats, and the number of tokens, summed over a batch's answers."""
    ids, mask, answer = engine.encode_answers(batch)
    told = answer[:, 1:]
    of_base = engine.base_states.of(batch, lambda: _states(base, ids, mask, told))
    theirs = _log_probabilities(base, of_base)
    mine = theirs if model is base else _log_probabilities(model, _states(model, ids, mask, told))
    surprise = -mine.gather(-1, ids[:, 1:][told].unsqueeze(-1)).sum().item()
    divergence = (mine.exp() * (mine - theirs)).sum().item()
    return surprise, divergence, int(told.sum())


def _states(bare: Any, ids: torch.Tensor, mask: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    """What an answer's tokens are told from: (answer tokens, size), or logits where only the whole model
    knows how its vocabulary is projected on."""
    decoder = bare.base_model if _is_plain(bare) else bare
    states: torch.Tensor = decoder(input_ids=ids, attention_mask=mask, use_cache=False)[0]
    return states[:, :-1][told]


def _log_probabilities(bare: Any, states: torch.Tensor) -> torch.Tensor:
    """(answer tokens, vocabulary), fp32."""
    logits = bare.lm_head(states) if _is_plain(bare) else states
    return logits.float().log_softmax(-1)


def _is_plain(bare: Any) -> bool:
    return bare.config.model_type in PLAIN_DECODERS
