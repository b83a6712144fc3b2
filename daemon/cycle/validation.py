"""Puts held-out prompts to a policy, one judge over all answers, and decides on the evidence gathered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from daemon.cycle.answers import Asking
from daemon.cycle.questions import evaluation_asks
from daemon.cycle.trust import Trust
from judges.base import Judge
from policies.cares import Label
from policies.engines.base import Engine
from policies.records import Judged, Policy, Prompt
from policies.validation.config import GateConfig
from policies.validation.decide import Decision, decide, provisional_winner
from policies.validation.evidence import Evidence, JudgeEvidence


class Validator:
    """Asks, judges and decides for one cycle. The sealed split is opened for the provisional winner only."""

    def __init__(
        self,
        *,
        asking: Asking,
        engine: Callable[[], Engine],
        judge: Callable[[], Judge],
        second: Callable[[], Judge] | None,
        sealed: Sequence[Prompt],
        max_new_tokens: int,
        open_sealed: Callable[[], int],
    ) -> None:
        self._asking, self._engine, self._judge, self._second = asking, engine, judge, second
        self._sealed, self._max_new_tokens, self._open_sealed = sealed, max_new_tokens, open_sealed

    def judged(self, policy: Policy, prompts: Sequence[Prompt], purpose: str) -> list[Judged]:
        """What the policy says plainly, with the validation judge's verdicts, in the prompts' order."""
        asks = evaluation_asks(prompts, max_new_tokens=self._max_new_tokens)
        answered = self._asking.answer(self._engine, policy, asks, purpose=purpose)
        return self._asking.judge(self._judge, answered, purpose=purpose)

    def second_labels(self, judged: Sequence[Judged]) -> dict[str, Label]:
        """Answer digest → label by the second judge, kept like the first one's; empty without one."""
        if self._second is None:
            return {}
        asks = evaluation_asks([one.prompt for one in judged], max_new_tokens=self._max_new_tokens)
        answered = [(ask, one.response) for ask, one in zip(asks, judged, strict=True)]
        again = self._asking.judge(self._second, answered, purpose="second")
        return {
            one.response.answer_digest: one.verdict.label for one in again if one.verdict.label is not None
        }

    def decide(
        self, evidence: Evidence, gates: GateConfig, policies: Mapping[str, Policy]
    ) -> tuple[Decision, Evidence]:
        """The decision, after the sealed split was opened for a provisional winner if there is one."""
        winner = provisional_winner(evidence, gates)
        if winner is None:
            return decide(evidence, gates), evidence
        openings = self._open_sealed()
        sealed = {
            key: tuple(self.judged(policies[key], self._sealed, "sealed"))
            for key in (evidence.incumbent.key, winner)
        }
        confirmed = replace(
            evidence,
            incumbent=replace(evidence.incumbent, sealed=sealed[evidence.incumbent.key]),
            candidates=tuple(replace(one, sealed=sealed.get(one.key)) for one in evidence.candidates),
            sealed_openings=openings,
        )
        return decide(confirmed, gates), confirmed


def judge_evidence(
    trust: Trust, *, training: Trust, trained_by: Judge, second: Judge | None
) -> JudgeEvidence:
    """What the gates ask of the validation judge, and which judges the others are.

    Of both judges it is asked whether they are steady: what a drifted one labelled has made the candidates.
    """
    confusion: dict[str, Any] | None = None
    if trust.report is not None:
        confusion = {level: part.confusion for level, part in trust.report.by_level.items()}
        confusion["pooled"] = trust.report.overall.confusion
    steady, told = _steady([trust] if training.digest == trust.digest else [trust, training])
    return JudgeEvidence(
        name=trust.judge,
        digest=trust.digest,
        trained_with=trained_by.name,
        calibrated=trust.gate.allowed,
        calibration_sentence=trust.gate.sentence,
        confusion=confusion,
        sentinel_steady=steady,
        sentinel_sentence=told,
        trained_digests=judge_digests(trained_by),
        second_digests=frozenset() if second is None else judge_digests(second),
    )


def _steady(judges: Sequence[Trust]) -> tuple[bool | None, str]:
    """Whether all agree with the sentinel set (None: one was not asked), and what each was found to do."""
    runs = [one.sentinel for one in judges]
    told = "; ".join(
        f"{one.judge}: {'the sentinel was not asked' if run is None else run.sentence}"
        for one, run in zip(judges, runs, strict=True)
    )
    found = [run for run in runs if run is not None]
    if any(run.drifted for run in found):
        return False, told
    return True if len(found) == len(runs) else None, told


def judge_digests(judge: Judge) -> frozenset[str]:
    """Of a judge and of all whose opinions are in its own: who sits on a panel, the rules in a guard."""
    members: Sequence[Judge] = getattr(judge, "members", ())
    return frozenset({judge.digest}).union(*map(judge_digests, members))
