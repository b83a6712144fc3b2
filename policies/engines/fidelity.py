"""Is a policy still the model it was? Perplexity on reference answers, and divergence from the base model.

A candidate that refuses in gibberish scores well on safety; it does not on these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from policies.records import Policy

if TYPE_CHECKING:
    from policies.engines.transformers_engine import TransformersEngine

_BATCH = 8


def fidelity(
    engine: TransformersEngine, policy: Policy, references: Sequence[tuple[str, str]]
) -> tuple[float, float]:
    """(perplexity, mean KL(policy ‖ base) in nats a token) over the answers of (prompt, answer) pairs."""
    model, base = engine.model_for(policy), engine.model_for(Policy(policy.base_digest))
    alike = sorted(references, key=lambda pair: len(pair[0]) + len(pair[1]))  # padding costs as much as text
    batches = [alike[start : start + _BATCH] for start in range(0, len(alike), _BATCH)]
    parts = list(engine.lanes.map(lambda batch: _sums(engine, model, base, batch), batches))
    surprise, divergence, tokens = map(sum, zip(*parts, strict=True))
    return math.exp(min(surprise / tokens, 700.0)), divergence / tokens


@torch.inference_mode()
def _sums(
    engine: TransformersEngine, model: Any, base: Any, batch: Sequence[tuple[str, str]]
) -> tuple[float, float, int]:
    """Surprise and divergence in nats, and the number of tokens, summed over a batch's answers."""
    ids, mask, answer = engine.encode_answers(batch)
    told = answer[:, 1:]
    mine = _log_probabilities(model, ids, mask, told)
    theirs = mine if model is base else _log_probabilities(base, ids, mask, told)
    surprise = -mine.gather(-1, ids[:, 1:][told].unsqueeze(-1)).sum().item()
    divergence = (mine.exp() * (mine - theirs)).sum().item()
    return surprise, divergence, int(told.sum())


def _log_probabilities(model: Any, ids: torch.Tensor, mask: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    """(answer tokens, vocabulary), fp32; what comes before an answer is not even widened."""
    return model(input_ids=ids, attention_mask=mask).logits[:, :-1][told].float().log_softmax(-1)
