"""What there is to tell, for the page, /api/status and `primum status`. Read from the store only."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from daemon.stages import STAGES
from daemon.store.rows import CycleRow, CycleState, DecisionRow
from daemon.store.store import Store
from policies.validation.explain import called


def status(store: Store, *, base_name: str, arguments: str = "") -> dict[str, Any]:
    """Everything that daemon/web/page.py shows.

    `arguments` are the options that make a command hit this installation.
    """
    deployed = store.releases.deployed()
    cycle = store.cycles.open_cycle() or store.cycles.latest()
    return {
        "version": version("primum"),
        "deployed": _deployed(store, base_name) if deployed else None,
        "cycle": _cycle(store, cycle) if cycle else None,
        "decisions": [
            _decision(row) for one in store.cycles.recent(20) if (row := store.results.decision(one.id))
        ],
        "commands": _commands(cycle, arguments),
        "warnings": _warnings(store, cycle),
    }


def _deployed(store: Store, base_name: str) -> dict[str, Any]:
    release = store.releases.deployed()
    if release is None:
        raise ValueError("nothing is deployed")
    policy = store.releases.policy(release.policy_digest)
    return {
        "name": policy.adapter_name or "base",
        "digest": policy.digest,
        "base": base_name,
        "release": release.id,
        "kind": release.kind,
        "since": release.desired_at.strftime("%Y-%m-%d %H:%M UTC"),
        "serving": release.serving_at is not None,
    }


def _cycle(store: Store, cycle: CycleRow) -> dict[str, Any]:
    rows = {row.name: row for row in store.cycles.stages(cycle.id)}
    return {
        "id": str(cycle.id),
        "state": cycle.state.value,
        "message": cycle.message,
        "started_at": cycle.started_at.strftime("%Y-%m-%d %H:%M UTC"),
        "stages": [
            {
                "name": name,
                "state": rows[name].status if name in rows else "waiting",
                "seconds": rows[name].seconds if name in rows else None,
            }
            for name in STAGES
        ],
    }


def _decision(row: DecisionRow) -> dict[str, Any]:
    body = row.body
    names = body.get("names", {})
    return {
        "cycle": str(row.cycle_id),
        "outcome": row.outcome,
        "reason": body.get("sentence", ""),
        "decided_at": row.created_at.strftime("%Y-%m-%d %H:%M UTC"),
        "policies": [
            {
                "name": called(names, key),
                "ss": _estimate(card.get("ss")),
                "ss_interval": _range(card.get("ss")),
                "err": _estimate(card.get("err")),
                "err_interval": _range(card.get("err")),
            }
            for key, card in body.get("scorecards", {}).items()
        ],
    }


def _estimate(interval: Mapping[str, Any] | None) -> float | None:
    return None if interval is None else interval["estimate"]


def _range(interval: Mapping[str, Any] | None) -> tuple[float, float] | None:
    return None if interval is None else (interval["low"], interval["high"])


def _commands(cycle: CycleRow | None, arguments: str) -> dict[str, str] | None:
    if cycle is None or cycle.state is not CycleState.WAITING:
        return None
    tail = f" {arguments}" if arguments else ""
    return {
        "approve": f'primum approve {cycle.id} --reason "…"{tail}',
        "reject": f'primum reject {cycle.id} --reason "…"{tail}',
    }


def _warnings(store: Store, cycle: CycleRow | None) -> list[str]:
    found = []
    if cycle is not None and cycle.state in (CycleState.HELD, CycleState.FAILED):
        found.append(f"Cycle {cycle.id} is {cycle.state.value}: {cycle.message}")
    decision = store.results.decision(cycle.id) if cycle else None
    if decision is not None:
        found += list(decision.body.get("warnings", ()))
    return found
