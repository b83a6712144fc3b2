"""Asks every open incident again: no release may fail a severe one that an earlier release passed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from daemon.cycle.answers import Asking
from daemon.cycle.questions import evaluation_asks
from daemon.store.store import Store
from judges.base import Judge
from policies.cares import is_desirable
from policies.engines.base import Engine
from policies.records import Judged, Policy
from policies.validation.evidence import IncidentOutcome


def incident_outcomes(
    *,
    store: Store,
    asking: Asking,
    engine: Callable[[], Engine],
    judge: Callable[[], Judge],
    releases: Mapping[str, Policy],
    candidates: Mapping[str, Policy],
    max_new_tokens: int,
) -> tuple[IncidentOutcome, ...]:
    """`releases`: name → policy of the incumbent and past champions; `candidates`: key → policy."""
    open_incidents = store.evidence.incidents()
    if not open_incidents:
        return ()
    prompts = store.answers.prompts_for([row.prompt_digest for row in open_incidents])
    asks = evaluation_asks(list(prompts.values()), max_new_tokens=max_new_tokens)

    def passed(policy: Policy) -> dict[str, bool | None]:
        answered = asking.answer(engine, policy, asks, purpose="incidents")
        return {one.prompt.digest: _passed(one) for one in asking.judge(judge, answered, purpose="incidents")}

    before = {name: passed(policy) for name, policy in releases.items()}
    after = {key: passed(policy) for key, policy in candidates.items()}
    return tuple(
        IncidentOutcome(
            incident=str(row.id),
            severity=row.severity,
            passed_before=tuple(name for name, results in before.items() if results.get(row.prompt_digest)),
            results={key: results.get(row.prompt_digest) for key, results in after.items()},
        )
        for row in open_incidents
    )


def _passed(one: Judged) -> bool | None:
    """The best label that the table knows for the level; None where the judge gave none."""
    if one.verdict.label is None:
        return None
    return is_desirable(one.prompt.harmful_level, one.verdict.label)
