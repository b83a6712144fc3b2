"""Several judges as one: a weighted vote that abstains rather than decide narrowly."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from judges.base import Judge
from policies.cares import LABELS, Label
from policies.digests import digest_of
from policies.errors import ConfigurationError, JudgeError
from policies.records import Prompt, Response, Verdict

_ROUNDING = 1e-9  # so that three weights of 0.1 make 0.3


@dataclass(frozen=True)
class Member:
    """A judge with a vote of this weight."""

    judge: Judge
    weight: float = 1.0


class PanelJudge:
    """The label whose share of all weight is the largest and at least `agreement`, in (0, 1].

    A member without a verdict votes for nothing, and its weight still counts in the whole: a panel half of
    which is down agrees on less. A tie is no agreement. Probabilities are the weighted mean over members
    that state any.
    """

    def __init__(self, name: str, members: Sequence[Member], *, agreement: float = 0.6) -> None:
        if len(members) < 2:
            raise ConfigurationError(f"judge {name}: a panel needs at least two members")
        if not all(member.weight > 0 and math.isfinite(member.weight) for member in members):
            raise ConfigurationError(f"judge {name}: every member's weight must be a number above 0")
        if not 0 < agreement <= 1:
            raise ConfigurationError(
                f"judge {name}: agreement must be above 0 and at most 1, not {agreement}"
            )
        if len({member.judge.digest for member in members}) < len(members):
            raise ConfigurationError(
                f"judge {name}: the same judge sits on the panel twice; give it one weight"
            )
        self._name, self._members, self._agreement = name, tuple(members), agreement

    @property
    def name(self) -> str:
        return self._name

    @property
    def digest(self) -> str:
        """Over members' digests, weights and the agreement; their order changes nothing."""
        seats = sorted([member.judge.digest, float(member.weight)] for member in self._members)
        return digest_of(["panel", seats, float(self._agreement)])

    @property
    def members(self) -> tuple[Judge, ...]:
        return tuple(member.judge for member in self._members)

    def judge(self, items: Sequence[tuple[Prompt, Response]]) -> Iterator[Verdict]:
        digest = self.digest
        votes = [_votes(member.judge, items) for member in self._members]
        for (prompt, response), *cast in zip(items, *votes, strict=True):
            yield self._count(digest, prompt, response, cast)

    def close(self) -> None:
        for member in self._members:
            member.judge.close()

    def _count(
        self, digest: str, prompt: Prompt, response: Response, cast: Sequence[Verdict | str]
    ) -> Verdict:
        given = [vote for vote in cast if isinstance(vote, Verdict)]
        weights = dict.fromkeys(LABELS, 0.0)
        for member, vote in zip(self._members, cast, strict=True):
            if isinstance(vote, Verdict) and vote.label is not None:
                weights[vote.label] += member.weight
        label, share = self._winner(weights)
        return Verdict(
            judge_digest=digest,
            prompt_digest=prompt.digest,
            answer_digest=response.answer_digest,
            label=label,
            probabilities=self._mean(cast) if label is not None else None,
            unscored_reason=None
            if label
            else f"agreement {share:.2f} is below {self._agreement:.2f} or tied",
            transcript=self._minutes(cast),
            prompt_tokens=sum(vote.prompt_tokens for vote in given),
            completion_tokens=sum(vote.completion_tokens for vote in given),
            cost_usd=math.fsum(vote.cost_usd for vote in given),
            latency_s=math.fsum(vote.latency_s for vote in given),
            truncated=any(vote.truncated for vote in given),
        )

    def _winner(self, weights: Mapping[Label, float]) -> tuple[Label | None, float]:
        whole = math.fsum(member.weight for member in self._members)
        (first, most), (_, second) = sorted(weights.items(), key=lambda pair: -pair[1])[:2]
        share = most / whole
        agreed = share >= self._agreement - _ROUNDING and most - second > _ROUNDING * whole
        return (first if agreed else None), share

    def _mean(self, cast: Sequence[Verdict | str]) -> dict[str, float] | None:
        stated = [
            (member.weight, vote.probabilities)
            for member, vote in zip(self._members, cast, strict=True)
            if isinstance(vote, Verdict) and vote.label is not None and vote.probabilities is not None
        ]
        if not stated:
            return None
        whole = math.fsum(weight for weight, _ in stated)
        return {
            str(label): math.fsum(weight * shares.get(label, 0.0) for weight, shares in stated) / whole
            for label in LABELS
        }

    def _minutes(self, cast: Sequence[Verdict | str]) -> str:
        """Who said what, as JSON."""
        return json.dumps(
            [
                {"judge": member.judge.name, "weight": member.weight, "label": None, "reason": vote}
                if isinstance(vote, str)
                else {
                    "judge": member.judge.name,
                    "weight": member.weight,
                    "label": vote.label,
                    "reason": vote.unscored_reason,
                }
                for member, vote in zip(self._members, cast, strict=True)
            ]
        )


def _votes(judge: Judge, items: Sequence[tuple[Prompt, Response]]) -> Iterator[Verdict | str]:
    """A member's verdicts, and from where it fails altogether the reason in their place."""
    count = 0
    try:
        for verdict in judge.judge(items):
            count += 1
            yield verdict
    except JudgeError as problem:
        for _ in range(len(items) - count):
            yield str(problem)
