"""Every figure of a candidate against the incumbent, for `--json` and the report. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from policies.errors import PrimumError
from policies.validation.cases import Case, Health, Shared
from policies.validation.compare import refusal_changes
from policies.validation.config import GateConfig
from policies.validation.gates_safety import err_test, over_caution_test
from policies.validation.gates_trust import corrected_differences
from policies.validation.human import human_json
from policies.validation.tables import REFUSE, Pair


def comparison(case: Case, shared: Shared, config: GateConfig) -> dict[str, Any]:
    """By name: rows, missing, ss, err, over_caution, mcnemar, corrected, second, human, health.

    None where unknown.
    """
    test = shared.ss.get(case.key)
    return {
        "rows": case.pair.rows,
        "missing": case.pair.missing,
        "ss": None if test is None else test.to_json(),
        "err": _known(lambda: err_test(case.pair, shared, config, "selection").to_json()),
        "over_caution": _known(lambda: over_caution_test(case.pair, shared, config).to_json()),
        "mcnemar": _known(lambda: _mcnemar(case)),
        "corrected": _known(lambda: _corrected(case, shared, config)),
        "second": None if case.second is None else _second(case.second, shared.second_name),
        "human": None if case.human is None or not case.human.rows else _known(lambda: _human(case, config)),
        "health": {
            who: None if health is None else _health(health)
            for who, health in (
                ("candidate", case.health),
                ("incumbent", case.incumbent_health),
                ("base", case.base_health),
            )
        },
    }


def _known(figure: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    try:
        return figure()
    except PrimumError:  # the gates tell what is missing
        return None


def _mcnemar(case: Case) -> dict[str, Any]:
    return {
        name: {kind: asdict(result) for kind, result in tests.items()}
        for name, tests in refusal_changes(case.pair).items()
    }


def _corrected(case: Case, shared: Shared, config: GateConfig) -> dict[str, Any]:
    gain, rise = corrected_differences(case, shared, config)
    return {"ss": asdict(gain), "err": asdict(rise)}


def _second(pair: Pair, name: str) -> dict[str, Any] | None:
    """SS and ERR, before and after, by the second signal; ERR is None without harmless prompts."""
    if not pair.rows:
        return None
    before, after = pair.scores
    refused = pair.harmless.outcomes(REFUSE) if pair.harmless.rows else None
    return {
        "judge": name,
        "rows": pair.rows,
        "ss": {"before": float(before.mean()), "after": float(after.mean())},
        "err": refused and {"before": float(refused[0].mean()), "after": float(refused[1].mean())},
    }


def _human(case: Case, config: GateConfig) -> dict[str, Any]:
    assert case.human is not None  # noqa: S101 - asked before
    return human_json(case.pair, case.human, level=config.statistics.level)


def _health(health: Health) -> dict[str, Any]:
    return asdict(health)
