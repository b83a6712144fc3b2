"""Scores of tokens against torch's own log-softmax, and against TRL's kernel where that one is called."""

from __future__ import annotations

import pytest
import torch
from trl.kernels import ChunkedLogProbFunction

from policies.training import log_probs
from policies.training.log_probs import score_tokens

TOKENS, SIZE, VOCABULARY = 37, 24, 301  # more tokens than are looked at together, and a rest
FIELDS = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")


def _batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """hidden, weight, targets, and a slope for each log-probability."""
    made = torch.Generator().manual_seed(4)
    hidden = torch.randn(TOKENS, SIZE, generator=made).requires_grad_()
    weight = torch.randn(VOCABULARY, SIZE, generator=made)
    targets = torch.randint(0, VOCABULARY, (TOKENS,), generator=made)
    targets[::3] = (hidden @ weight.t()).argmax(-1)[::3]  # some are the likeliest
    return hidden, weight, targets, torch.randn(TOKENS, generator=made)


def test_scores_and_gradient_are_those_of_a_plain_log_softmax() -> None:
    hidden, weight, targets, slope = _batch()
    told = dict(
        zip(FIELDS, score_tokens(hidden, weight, None, targets, 1.0, 64, outputs=FIELDS), strict=True)
    )
    (told["log_probs"] * slope).sum().backward()

    exact = hidden.detach().double().requires_grad_()
    logits = exact @ weight.double().t()
    logs = logits.log_softmax(-1)
    expected = {
        "log_probs": logs.gather(-1, targets[:, None])[:, 0],
        "entropy": torch.distributions.Categorical(logits=logits).entropy(),
        "log_sum_sq_probs": logs.exp().square().sum(-1).log(),
        "mean_logits": logits.mean(-1),
    }
    (expected["log_probs"] * slope).sum().backward()
    for name, value in expected.items():
        torch.testing.assert_close(told[name].double(), value, rtol=1e-4, atol=1e-4)
    assert told["is_top1"].tolist() == (logits.argmax(-1) == targets).tolist()
    assert 0 < told["is_top1"].sum() < TOKENS
    torch.testing.assert_close(hidden.grad.double(), exact.grad, rtol=1e-4, atol=1e-4)


def test_what_nobody_wants_is_not_computed() -> None:
    hidden, weight, targets, _ = _batch()
    told = score_tokens(hidden, weight, None, targets, 1.0, 64, outputs=("log_probs", "mean_logits"))
    assert [part is not None for part in told] == [True, False, False, True, False]


def test_a_batch_without_a_completion_is_scored_to_nothing() -> None:
    hidden, weight, targets, _ = _batch()
    none = score_tokens(hidden[:0], weight, None, targets[:0], 1.0, 64, outputs=FIELDS)
    assert all(part.shape == (0,) for part in none if part is not None)
    none[0].sum().backward()
    assert hidden.grad is not None
    assert not hidden.grad.any()


@pytest.mark.parametrize(
    "case", [{"softcap": 3.0}, {"scale": 0.5}, {"temperature": 0.7}, {"bias": True}, {"trained": True}]
)
def test_other_heads_are_left_to_trl(case: dict[str, float]) -> None:
    hidden, weight, targets, slope = _batch()
    bias = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(5)) if "bias" in case else None
    weight.requires_grad_("trained" in case)
    arguments = (
        hidden,
        weight,
        bias,
        targets,
        case.get("temperature", 1.0),
        64,
        case.get("softcap"),
        case.get("scale", 1.0),
        FIELDS,
    )
    gradients = []
    for ask in (score_tokens, ChunkedLogProbFunction.apply):
        hidden.grad = weight.grad = None
        told = ask(*arguments)
        (told[0] * slope).sum().backward()
        gradients.append((told[0], hidden.grad, weight.grad))
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or torch.equal(ours, theirs)


def test_more_logits_than_are_kept_are_left_to_trl(monkeypatch: pytest.MonkeyPatch) -> None:
    def theirs(*_: object) -> tuple[str]:
        return ("theirs",)

    monkeypatch.setattr(log_probs.ChunkedLogProbFunction, "apply", theirs)
    hidden, weight, targets, _ = _batch()
    assert score_tokens(hidden, weight, None, targets, 1.0, 64, outputs=FIELDS)[0] != "theirs"
    monkeypatch.setattr(log_probs, "_MOST_LOGITS", TOKENS * VOCABULARY - 1)
    assert score_tokens(hidden, weight, None, targets, 1.0, 64, outputs=FIELDS)[0] == "theirs"


def test_in_bf16_rows_that_fill_up_a_batch_are_told_to_nobody() -> None:
    generator = torch.Generator().manual_seed(8)
    hidden = torch.randn(19, 8, generator=generator).bfloat16().requires_grad_()
    weight = torch.randn(40, 8, generator=generator).bfloat16()
    targets = torch.randint(40, (19,), generator=generator)
    told = score_tokens(hidden, weight, None, targets, 1.0, 8)[0]
    assert told is not None
    told.sum().backward()
    exact = hidden.detach().float().requires_grad_()
    expected = (exact @ weight.float().t()).log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    expected.sum().backward()
    torch.testing.assert_close(told.detach(), expected.detach(), atol=0.05, rtol=0.02)
    torch.testing.assert_close(hidden.grad.float(), exact.grad, atol=0.05, rtol=0.05)
