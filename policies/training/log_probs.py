"""Log-probabilities of tokens on a CPU: the vocabulary is projected on once, not again for the gradient.

TRL never holds a batch's logits. It projects in tiles, forgets them and projects again on the way back, there
with the vocabulary's weights in fp32. That saves a GPU its memory; with a small model on a CPU it took a
fifth of a DPO step, and there the logits are some tens of megabytes. Here they are kept, in the model's type,
and turned into their own gradient in place. The same numbers but for rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import pad
from trl.kernels import ChunkedLogProbFunction

from policies.engines.shapes import round_up, shape_step

_ROWS = 16  # looked at together: so many rows of logits in fp32 stay in a cache
_STEP = 16  # tokens
_MOST_LOGITS = 1 << 26  # 128 MiB in bf16; beyond that TRL's way is taken
_FIELDS = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")  # in TRL's order


def score_tokens(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    temperature: float,
    chunk_size: int,
    softcap: float | None = None,
    scale: float = 1.0,
    outputs: tuple[str, ...] = (),
) -> tuple[torch.Tensor | None, ...]:
    """What `trl.kernels.ChunkedLogProbFunction.apply` takes and returns, without the gradient of the entropy.

    `hidden` (tokens, size), `weight` (vocabulary, size), `targets` (tokens,). Each result is (tokens,): log-
    probability, entropy in nats, log of the sum of squared probabilities, mean logit, whether the target is
    the likeliest; None for those that `outputs` does not name. Where the vocabulary is trained, has a bias or
    its logits are scaled or capped, and where there are too many logits to keep, TRL's own is called.
    """
    plain = bias is None and temperature == 1 and not softcap and scale == 1 and not weight.requires_grad
    if not plain or len(targets) * len(weight) > _MOST_LOGITS or torch.is_autocast_enabled("cpu"):
        theirs: tuple[torch.Tensor | None, ...] = ChunkedLogProbFunction.apply(
            hidden, weight, bias, targets, temperature, chunk_size, softcap, scale, outputs
        )
        return theirs
    told: tuple[torch.Tensor | None, ...] = _KeptLogits.apply(hidden, weight, targets, outputs)
    return told


class _KeptLogits(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, outputs: tuple[str, ...]
    ) -> tuple[torch.Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        step = shape_step(hidden.device, hidden.dtype, _STEP)
        padded = pad(hidden, (0, 0, 0, round_up(len(hidden), step) - len(hidden)))
        logits = padded @ weight.t()
        wanted = {"log_probs", *outputs}
        parts = [
            _scores(rows.to(torch.float32, copy=True), of, wanted)
            for rows, of in zip(logits[: len(hidden)].split(_ROWS), targets.split(_ROWS), strict=True)
        ]
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        ctx.save_for_backward(logits, joined.pop("log_sum"), weight, targets)
        ctx.mark_non_differentiable(*(part for name, part in joined.items() if name != "log_probs"))
        return tuple(joined.get(name) for name in _FIELDS)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        if gradients[0] is None:
            return None, None, None, None
        logits, log_sum, weight, targets = ctx.saved_tensors
        each = (logits[: len(targets)], log_sum, targets, gradients[0].float())
        for rows, total, of, gradient in zip(*(part.split(_ROWS) for part in each), strict=True):
            # d log p(target) / d logit = 1[target] − p
            slope = (rows.float() - total[:, None]).exp_().mul_(-gradient[:, None])
            slope.scatter_add_(-1, of[:, None], gradient[:, None])
            rows.copy_(slope)
        logits[len(targets) :] = 0
        return (logits @ weight)[: len(targets)], None, None, None


def _scores(logits: torch.Tensor, targets: torch.Tensor, wanted: set[str]) -> dict[str, torch.Tensor]:
    """Of `logits` (rows, vocabulary) in fp32, which are overwritten: what is wanted, and `log_sum`."""
    log_sum = logits.logsumexp(-1)
    told = {
        "log_sum": log_sum,
        "log_probs": logits.gather(-1, targets[:, None])[:, 0] - log_sum,
    }
    if "mean_logits" in wanted:
        told["mean_logits"] = logits.mean(-1)
    if "is_top1" in wanted:
        told["is_top1"] = logits.argmax(-1) == targets
    if wanted & {"entropy", "log_sum_sq_probs"}:
        likely = (logits - log_sum[:, None]).exp_()
        if "entropy" in wanted:
            told["entropy"] = log_sum - logits.mul_(likely).sum(-1)
        if "log_sum_sq_probs" in wanted:
            told["log_sum_sq_probs"] = likely.square_().sum(-1).log()
    return told
