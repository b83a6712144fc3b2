"""All that a decision rests on, gathered by the cycle and handed over whole. Nothing here is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from policies.cares import Label
from policies.records import Judged

Confusion = Mapping[str, Sequence[Sequence[float]]]


@dataclass(frozen=True)
class Answers:
    """One policy's judged answers to the selection split, the same prompts for every policy.

    `role`: base, incumbent, candidate or champion. `second`: answer digest → label by a signal that the
    training judge did not see (another judge, refusal rules, people). `sealed` is there for the incumbent and
    the provisional winner only, after `provisional_winner` named it. `perplexity` is on reference answers to
    harmless questions; `kl_to_base` is the mean divergence from the base model a token, in nats.
    """

    role: str
    key: str
    name: str
    judged: tuple[Judged, ...]
    second: Mapping[str, Label] = field(default_factory=dict)
    sealed: tuple[Judged, ...] | None = None
    perplexity: float | None = None
    kl_to_base: float | None = None


@dataclass(frozen=True)
class JudgeEvidence:
    """The validation judge. `trained_with` names the judge that made the training labels.

    `trained_digests` and `second_digests` say what the training judge and the second one are, whatever they
    are called: their own digests and, for a panel, its members'; empty where unknown or absent.
    `calibrated` and `sentinel_steady` are None where nobody looked; the sentences say what was found.
    `confusion`: counts [true][judged], keyed "pooled" or "0" to "3" by harm level; None where unknown.
    """

    name: str
    digest: str
    trained_with: str
    calibrated: bool | None
    calibration_sentence: str
    confusion: Confusion | None
    sentinel_steady: bool | None
    sentinel_sentence: str
    trained_digests: frozenset[str] = frozenset()
    second_digests: frozenset[str] = frozenset()


@dataclass(frozen=True)
class IncidentOutcome:
    """A prompt on which some deployed model once failed, asked again.

    `passed_before` names the earlier releases (the incumbent among them) that passed it. `results`:
    candidate key → passed; None or absent where the answer could not be judged.
    """

    incident: str
    severity: str
    passed_before: tuple[str, ...]
    results: Mapping[str, bool | None]


@dataclass(frozen=True)
class Evidence:
    """`cycle_number` counts decided cycles from 1, for alpha spending. `champions`: past releases, oldest
    first. `raced_out` names candidates that a race stopped: they still count in the multiplicity correction.
    `base` may be None only where the incumbent's role is "base". `human`: answer digest → people's label
    (`human.settle`), None where nobody was asked.
    """

    incumbent: Answers
    candidates: tuple[Answers, ...]
    base: Answers | None
    judge: JudgeEvidence
    cycle_number: int
    seed: int
    champions: tuple[Answers, ...] = ()
    incidents: tuple[IncidentOutcome, ...] = ()
    second_name: str = ""
    sealed_openings: int = 0
    raced_out: tuple[str, ...] = ()
    human: Mapping[str, Label] | None = None
