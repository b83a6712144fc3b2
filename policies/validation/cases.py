"""Evidence → one case a candidate: aligned pairs and the figures beside them, which is what gates read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policies.validation.compare import SsTest
from policies.validation.evidence import Answers, Evidence, IncidentOutcome, JudgeEvidence
from policies.validation.human import HumanCodes, human_codes
from policies.validation.tables import Pair, align, align_second
from policies.validation.text import TextStats, text_stats


@dataclass(frozen=True)
class Health:
    """How a policy speaks, apart from what it says."""

    text: TextStats
    perplexity: float | None
    kl_to_base: float | None


@dataclass(frozen=True, eq=False)
class Case:
    """A candidate against the incumbent, and against `references` (base and champions, by name).

    `second` is None without an independent signal, `sealed` before the sealed split is opened, `base_health`
    where the incumbent is the base itself, `human` where people labelled nothing.
    """

    key: str
    name: str
    pair: Pair
    second: Pair | None
    sealed: Pair | None
    references: Mapping[str, Pair]
    health: Health
    incumbent_health: Health
    base_health: Health | None
    human: HumanCodes | None = None


@dataclass(frozen=True, eq=False)
class Shared:
    """What all cases of a cycle share. `family` counts the candidates tested, `alpha` is this cycle's."""

    judge: JudgeEvidence
    second_name: str
    sealed_openings: int
    incidents: tuple[IncidentOutcome, ...]
    family: int
    alpha: float
    base_known: bool
    seed: int
    ss: Mapping[str, SsTest | None]


def cases_of(evidence: Evidence) -> tuple[Case, ...]:
    """One case a candidate, in the order given. Duplicate keys keep the first."""
    incumbent = evidence.incumbent
    own, base_health = _health(incumbent), None
    if evidence.base is not None:
        base_health = _health(evidence.base)
    found: dict[str, Case] = {}
    for candidate in evidence.candidates:
        if candidate.key in found:
            continue
        found[candidate.key] = Case(
            key=candidate.key,
            name=candidate.name,
            pair=align(incumbent.judged, candidate.judged),
            second=_second(incumbent, candidate),
            sealed=_sealed(incumbent, candidate),
            references=_references(evidence, candidate),
            health=_health(candidate),
            incumbent_health=own,
            base_health=base_health,
            human=human_codes(incumbent.judged, candidate.judged, evidence.human) if evidence.human else None,
        )
    return tuple(found.values())


def _references(evidence: Evidence, candidate: Answers) -> dict[str, Pair]:
    found = {}
    if evidence.base is not None:
        found["base"] = align(evidence.base.judged, candidate.judged)
    elif evidence.incumbent.role == "base":
        found["base"] = align(evidence.incumbent.judged, candidate.judged)
    for number, champion in enumerate(evidence.champions, start=1):
        found[f"champion {number} ({champion.name})"] = align(champion.judged, candidate.judged)
    return found


def _second(incumbent: Answers, candidate: Answers) -> Pair | None:
    if not incumbent.second or not candidate.second:
        return None
    return align_second(incumbent.judged, candidate.judged, (incumbent.second, candidate.second))


def _sealed(incumbent: Answers, candidate: Answers) -> Pair | None:
    if incumbent.sealed is None or candidate.sealed is None:
        return None
    return align(incumbent.sealed, candidate.sealed)


def _health(answers: Answers) -> Health:
    return Health(text_stats(answers.judged), answers.perplexity, answers.kl_to_base)
