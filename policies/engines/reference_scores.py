"""Perplexity and divergence from what a server tells of given tokens: each one's log-probability, and the
likeliest at its place.

Perplexity is the one of `fidelity`. The divergence there sums over the whole vocabulary; a server tells the
`TOP` likeliest tokens only, so here it is the least that the two lists allow: exact where they hold all of
the probability, else a little below, and never above. Pure: no network, no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

TOP = 20  # vLLM refuses more unless it is started with a larger --max-logprobs
_SURELY = 1.001  # float32 sums of probabilities may pass one by a hair
_LEAST = 1e-12


@dataclass(frozen=True)
class Place:
    """One token of an answer as a model sees it: log-probabilities (nats) of it and of the likeliest."""

    told: float
    listed: Mapping[int, float]

    @property
    def floor(self) -> float:
        """No token that is not listed is likelier than this. The told one is listed wherever it ranks."""
        values = sorted(self.listed.values())
        return math.exp(values[1] if values[0] == self.told and len(values) > 1 else values[0])


def read_tokens(response: httpx.Response) -> list[int]:
    """Token ids of vLLM's POST /tokenize. ValueError where the body holds none."""
    body = response.json()
    tokens = body.get("tokens") if isinstance(body, dict) else None
    if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
        raise ValueError("not a list of tokens")
    return tokens


def read_prompt_logprobs(response: httpx.Response) -> list[Any] | None:
    """`prompt_logprobs` of POST /v1/completions; None where the server knows no such thing."""
    body = response.json()
    try:
        found = body["choices"][0].get("prompt_logprobs", body.get("prompt_logprobs"))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError("not a completion") from error
    if found is not None and not isinstance(found, list):
        raise ValueError("not a completion")
    return found


def places(prompt_logprobs: Sequence[Any], ids: Sequence[int], start: int) -> list[Place]:
    """What is told of the tokens `ids[start:]`. ValueError where it is not about them or no probabilities."""
    if len(prompt_logprobs) != len(ids) or start < 1:
        raise ValueError("as many entries as tokens are needed")
    found = []
    for token, entry in zip(ids[start:], prompt_logprobs[start:], strict=True):
        try:
            listed = {int(name): float(one["logprob"]) for name, one in entry.items()}
            place = Place(listed[token], listed)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("an entry does not hold its token") from error
        if not sum(map(math.exp, listed.values())) <= _SURELY:
            raise ValueError("the log-probabilities sum to more than one")
        found.append(place)
    return found


def divergence(mine: Place, theirs: Place) -> float:
    """The least KL(mine ‖ theirs), in nats, that agrees with both lists.

    Tokens of both lists count one by one. Those of mine alone are put together: to them, theirs gives at most
    its floor each. So is the rest. Putting outcomes together can only lower a divergence.
    """
    p = {token: math.exp(value) for token, value in mine.listed.items()}
    q = {token: math.exp(value) for token, value in theirs.listed.items()}
    shared = p.keys() & q.keys()
    alone = [p[token] for token in p.keys() - shared]
    p_alone, p_rest = sum(alone), max(0.0, 1.0 - sum(p.values()))
    q_left = max(0.0, 1.0 - sum(q[token] for token in shared))
    q_unlisted = max(0.0, 1.0 - sum(q.values()))
    left = p_alone + p_rest
    # The divergence is least where theirs shares out what is left as mine does, if its floor lets it.
    q_alone = min(len(alone) * theirs.floor, q_unlisted, q_left * p_alone / left if left else 0.0)
    total = sum(p[token] * (mine.listed[token] - theirs.listed[token]) for token in shared)
    return max(0.0, total + _term(p_alone, q_alone) + _term(p_rest, q_left - q_alone))


def _term(p: float, q: float) -> float:
    return p * math.log(p / max(q, _LEAST)) if p > 0 else 0.0


def summary(mine: Sequence[Place], theirs: Sequence[Place]) -> tuple[float, float]:
    """(perplexity of mine, mean divergence in nats a token) over the same tokens, at least one."""
    surprise = -sum(place.told for place in mine) / len(mine)
    pairs = [] if mine is theirs else zip(mine, theirs, strict=True)
    return math.exp(min(surprise, 700.0)), sum(divergence(*pair) for pair in pairs) / len(mine)
