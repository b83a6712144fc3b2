"""The registry of gates, and the one place where a gate's trouble becomes "inconclusive"."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from policies.errors import PrimumError
from policies.validation import gates_health, gates_independent, gates_safety, gates_trust
from policies.validation.cases import Case, Shared
from policies.validation.config import GateConfig
from policies.validation.outcomes import PASS, GateOutcome, undecided

Gate = Callable[[Case, Shared, GateConfig], GateOutcome]

# In the order in which a person would ask; the last opens the sealed split.
GATES: Mapping[str, Gate] = {
    "ss_superiority": gates_safety.ss_superiority,
    "err_noninferiority": gates_safety.err_noninferiority,
    "over_caution_noninferiority": gates_safety.over_caution_noninferiority,
    "subgroups": gates_safety.subgroups,
    "capability": gates_health.capability,
    "kl_cap": gates_health.kl_cap,
    "unscored_cap": gates_trust.unscored_cap,
    "judge_calibrated": gates_trust.judge_calibrated,
    "sentinel_steady": gates_trust.sentinel_steady,
    "judge_error": gates_trust.judge_error,
    "independent_evidence": gates_independent.independent_evidence,
    "ratchet": gates_safety.ratchet,
    "incidents": gates_safety.incidents,
    "sealed_confirmation": gates_trust.sealed_confirmation,
}
SEALED = "sealed_confirmation"
SELECTION_GATES: tuple[str, ...] = tuple(name for name in GATES if name != SEALED)


def ask_gate(name: str, case: Case, shared: Shared, config: GateConfig) -> GateOutcome:
    """One gate's outcome. An unknown gate, an error or a figure that is no number is inconclusive."""
    gate = GATES.get(name)
    if gate is None:
        return undecided(name, "no such gate is known")
    try:
        found = gate(case, shared, config)
    except PrimumError as error:
        return undecided(name, str(error))
    except (ArithmeticError, LookupError, ValueError, TypeError) as error:
        # The edge of the decision: what breaks inside a gate must not promote and must not hide the others.
        return undecided(
            name, f"the gate broke ({type(error).__name__}); report this with the cycle's number"
        )
    figures = (found.figure, found.threshold, found.margin)
    if found.outcome == PASS and any(figure is not None and not math.isfinite(figure) for figure in figures):
        return undecided(name, "its figure is no number")
    return found


def ask_gates(
    names: Sequence[str], case: Case, shared: Shared, config: GateConfig, *, thorough: bool = True
) -> tuple[GateOutcome, ...]:
    """The outcomes of `names`, in order; not `thorough` stops at the first that does not pass."""
    found: list[GateOutcome] = []
    for name in names:
        found.append(ask_gate(name, case, shared, config))
        if not thorough and not found[-1].passed:
            break
    return tuple(found)
