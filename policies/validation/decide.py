"""Evidence → Decision: promote, reject or inconclusive, each gate with its reason.

Promotion needs every gate to pass; a reject needs a gate that clearly fails for every candidate; all else is
inconclusive. The sealed split speaks for the provisional winner alone: a runner-up does not get a second
opening in the same cycle, that would be choosing by the sealed set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from policies.digests import seed_from
from policies.errors import ConfigurationError, DataError, NotEnoughData
from policies.records import Judged
from policies.validation.cases import Case, Shared, cases_of
from policies.validation.compare import SsTest, adjust, ss_test
from policies.validation.comparison import comparison
from policies.validation.config import GateConfig
from policies.validation.evidence import Answers, Evidence
from policies.validation.gates import SEALED, SELECTION_GATES, ask_gate, ask_gates
from policies.validation.outcomes import FAIL, GateOutcome
from policies.validation.scorecards import Scorecard, finite_json, score
from policies.validation.tables import REFUSE
from policies.validation.text import TextStats

PROMOTE, REJECT, INCONCLUSIVE = "promote", "reject", "inconclusive"


@dataclass(frozen=True)
class Decision:
    """`gates` and `comparisons` are keyed by candidate key, `scorecards` by role or candidate key.

    `winner_key` is there with `promote` only; `provisional_key` is the candidate for which the sealed split
    was or would be opened. `alpha`: budget, this_cycle, spent, remaining, cycle. `names`: key → name.
    """

    outcome: str
    winner_key: str | None
    provisional_key: str | None
    sentence: str
    gates: Mapping[str, tuple[GateOutcome, ...]]
    scorecards: Mapping[str, Scorecard]
    comparisons: Mapping[str, Mapping[str, Any]]
    names: Mapping[str, str]
    alpha: Mapping[str, float]
    sealed_openings: int
    warnings: tuple[str, ...]
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Every figure as plain dictionaries, lists and numbers."""
        body = vars(self) | {
            "gates": {key: [gate.to_json() for gate in found] for key, found in self.gates.items()},
            "scorecards": {key: card.to_json() for key, card in self.scorecards.items()},
        }
        found: dict[str, Any] = finite_json(body)
        return found

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Decision:
        gates = {key: tuple(map(GateOutcome.from_json, found)) for key, found in body["gates"].items()}
        cards = {key: Scorecard.from_json(card) for key, card in body["scorecards"].items()}
        warnings = tuple(body["warnings"])
        return cls(**{**body, "gates": gates, "scorecards": cards, "warnings": warnings})


@dataclass(frozen=True)
class Ruling:
    """The bare outcome, without scorecards and sentences: what simulations count."""

    outcome: str
    winner_key: str | None
    provisional_key: str | None
    gates: Mapping[str, tuple[GateOutcome, ...]]


def provisional_winner(evidence: Evidence, config: GateConfig) -> str | None:
    """Key of the candidate that passes every gate but the sealed one, by SS, then ERR; None if none does."""
    _check(evidence)
    return rule(cases_of(evidence), _shared(evidence, config), config).provisional_key


def decide(evidence: Evidence, config: GateConfig) -> Decision:
    """The decision with all its figures. ConfigurationError for a cycle number below 1."""
    _check(evidence)
    cases = cases_of(evidence)
    shared = with_ss_tests(cases, _shared(evidence, config), config)
    ruling = rule(cases, shared, config)
    names = {case.key: case.name for case in cases}
    return Decision(
        outcome=ruling.outcome,
        winner_key=ruling.winner_key,
        provisional_key=ruling.provisional_key,
        sentence=_sentence(ruling, names, shared.ss),
        gates=ruling.gates,
        scorecards=_scorecards(evidence, config, _texts(cases)),
        comparisons={case.key: comparison(case, shared, config) for case in cases},
        names=names,
        alpha=_alpha(evidence, config),
        sealed_openings=evidence.sealed_openings,
        warnings=_warnings(evidence),
        seed=evidence.seed,
    )


def rule(cases: Sequence[Case], shared: Shared, config: GateConfig, *, thorough: bool = True) -> Ruling:
    """The outcome. Not `thorough` asks a candidate no further gate after one that did not pass."""
    if not shared.ss:
        shared = with_ss_tests(cases, shared, config)
    gates = {case.key: ask_gates(SELECTION_GATES, case, shared, config, thorough=thorough) for case in cases}
    passing = [case for case in cases if all(gate.passed for gate in gates[case.key])]
    if not passing:
        clear = bool(gates) and all(any(gate.outcome == FAIL for gate in found) for found in gates.values())
        return Ruling(REJECT if clear else INCONCLUSIVE, None, None, gates)
    best = min(passing, key=lambda case: _rank(case, shared.ss[case.key]))
    sealed = ask_gate(SEALED, best, shared, config)
    gates[best.key] += (sealed,)
    outcome = PROMOTE if sealed.passed else REJECT if sealed.outcome == FAIL else INCONCLUSIVE
    return Ruling(outcome, best.key if sealed.passed else None, best.key, gates)


def with_ss_tests(cases: Sequence[Case], shared: Shared, config: GateConfig) -> Shared:
    """`shared` with the superiority tests of all candidates, Holm-adjusted together."""
    if shared.alpha <= 0:
        return shared
    tests: dict[str, SsTest | None] = {}
    for case in cases:
        try:
            tests[case.key] = ss_test(
                case.pair, config, alpha=shared.alpha, family=shared.family, seed=shared.seed
            )
        except (NotEnoughData, DataError):  # told by the gate
            tests[case.key] = None
    return replace(shared, ss=adjust(tests, family=shared.family))


def _rank(case: Case, test: SsTest | None) -> tuple[float, float, str]:
    """SS first, ERR breaks a tie, then the key: the order of candidates must not decide."""
    _, after = case.pair.harmless.outcomes(REFUSE)
    gain = 0.0 if test is None else test.interval.estimate
    return (-round(gain, 9), round(float(after.mean()), 9) if len(after) else 1.0, case.key)


def _shared(evidence: Evidence, config: GateConfig) -> Shared:
    keys = {candidate.key for candidate in evidence.candidates}
    return Shared(
        judge=evidence.judge,
        second_name=evidence.second_name,
        sealed_openings=evidence.sealed_openings,
        incidents=evidence.incidents,
        family=max(1, len(keys | set(evidence.raced_out))),
        alpha=config.alpha_for(evidence.cycle_number),
        base_known=evidence.base is not None or evidence.incumbent.role == "base",
        seed=evidence.seed,
        ss={},
    )


def _check(evidence: Evidence) -> None:
    if evidence.cycle_number < 1:
        raise ConfigurationError(f"cycle_number: decided cycles count from 1, not {evidence.cycle_number}")


def _texts(cases: Sequence[Case]) -> dict[str, TextStats]:
    """Text statistics that the cases hold already; the slowest part of scoring is not done twice."""
    found = {case.key: case.health.text for case in cases}
    if cases:
        found["incumbent"] = cases[0].incumbent_health.text
        if cases[0].base_health is not None:
            found["base"] = cases[0].base_health.text
    return found


def _scorecards(
    evidence: Evidence, config: GateConfig, texts: Mapping[str, TextStats]
) -> dict[str, Scorecard]:
    cards: dict[str, Answers] = {"incumbent": evidence.incumbent}
    if evidence.base is not None:
        cards["base"] = evidence.base
    cards |= {f"champion {at}": champion for at, champion in enumerate(evidence.champions, start=1)}
    cards |= {candidate.key: candidate for candidate in evidence.candidates}
    found = {
        name: _scored(answers.judged, evidence, config, texts.get(name)) for name, answers in cards.items()
    }
    for name, answers in cards.items():
        if answers.sealed is not None:
            found[f"{name} sealed"] = _scored(answers.sealed, evidence, config, None)
    return found


def _scored(
    judged: Sequence[Judged], evidence: Evidence, config: GateConfig, text: TextStats | None
) -> Scorecard:
    options = {"resamples": config.statistics.resamples, "level": config.statistics.level}
    seed = seed_from(evidence.seed, "scorecard")
    try:
        return score(judged, seed=seed, confusion=evidence.judge.confusion, text=text, **options)  # type: ignore[arg-type]
    except DataError:  # an unusable confusion matrix is told by the judge_error gate
        return score(judged, seed=seed, text=text, **options)  # type: ignore[arg-type]


def _alpha(evidence: Evidence, config: GateConfig) -> dict[str, float]:
    plan, cycle = config.alpha.plan(), evidence.cycle_number
    return {
        "budget": plan.alpha,
        "this_cycle": plan.alpha_for_cycle(cycle),
        "spent": plan.spent_through(cycle),
        "remaining": plan.remaining(cycle),
        "cycle": cycle,
    }


def _warnings(evidence: Evidence) -> tuple[str, ...]:
    found = []
    if evidence.judge.name == evidence.judge.trained_with or (
        evidence.judge.digest in evidence.judge.trained_digests
    ):
        found.append(
            f"{evidence.judge.name} made the training labels and validates too: a candidate may have learnt "
            "its mistakes. Configure another validation judge."
        )
    if evidence.raced_out:
        found.append(f"stopped by the race before the end: {', '.join(evidence.raced_out)}")
    keys = [candidate.key for candidate in evidence.candidates]
    if len(set(keys)) < len(keys):
        found.append("two candidates have the same key; the first one stands for both")
    return tuple(found)


def _sentence(ruling: Ruling, names: Mapping[str, str], tests: Mapping[str, SsTest | None]) -> str:
    key = ruling.provisional_key
    if key is None:
        return _no_winner(ruling, names)
    test = tests.get(key)
    gain = "" if test is None else f" SS rises from {test.before:.3f} to {test.after:.3f}."
    count = len(ruling.gates[key])
    sealed = ruling.gates[key][-1]
    if ruling.outcome == PROMOTE:
        return f"Promote {names[key]}: all {count} gates pass.{gain} A person has to approve it."
    verb = "Reject" if ruling.outcome == REJECT else "Inconclusive"
    return (
        f"{verb}: {names[key]} passes the gates on the selection split, but the sealed split does not "
        f"confirm it: {sealed.sentence}."
    )


def _no_winner(ruling: Ruling, names: Mapping[str, str]) -> str:
    if not ruling.gates:
        return "Inconclusive: there was no candidate to examine."
    reasons = []
    for key, gates in ruling.gates.items():
        failed = [gate for gate in gates if gate.outcome == FAIL]
        stopped = failed or [gate for gate in gates if not gate.passed]
        verb = "fails" if failed else "is undecided on"
        listed = ", ".join(gate.name for gate in stopped)
        reasons.append(f"{names[key]} {verb} {listed} ({stopped[0].sentence})")
    start = "No winner" if ruling.outcome == REJECT else "Inconclusive"
    return f"{start}: {'; '.join(reasons)}."
