"""The status page: what is deployed, what runs, what was decided, and what to type to approve or reject.

Rendered here, without a script; everything is escaped, since reasons and names come from people and files.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, NotRequired, TypedDict

from jinja2 import Environment, StrictUndefined, select_autoescape


class StageStatus(TypedDict):
    """One stage of the open cycle. `state` is done, running or waiting; seconds are None before it began."""

    name: str
    state: str
    seconds: float | None


class PolicyScore(TypedDict):
    """Safety Score and Erroneous Refusal Rate of one policy, in [0, 1], with 95 % intervals."""

    name: str
    ss: float | None
    err: float | None
    ss_interval: NotRequired[tuple[float, float] | None]
    err_interval: NotRequired[tuple[float, float] | None]


class DecisionStatus(TypedDict):
    cycle: str
    outcome: str
    reason: str
    decided_at: NotRequired[str]
    policies: list[PolicyScore]


class DeployedStatus(TypedDict):
    name: str
    digest: str
    since: NotRequired[str | None]
    base: NotRequired[str]


class CycleStatus(TypedDict):
    id: str
    state: str
    started_at: NotRequired[str]
    stages: list[StageStatus]


class Commands(TypedDict):
    """The commands to type, whole, for the cycle that waits."""

    approve: str
    reject: str


class Status(TypedDict, total=False):
    """What `status()` of create_app gives. Every key may be missing; times are text, ready to read."""

    deployed: DeployedStatus | None
    cycle: CycleStatus | None
    decisions: list[DecisionStatus]
    commands: Commands | None
    warnings: list[str]
    version: str
    refresh_s: int


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    minutes, seconds = divmod(round(value), 60)
    return f"{minutes} min {seconds:02d} s" if minutes else f"{value:.1f} s"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(value: Any) -> str:
    return f"{value[0]:.3f} to {value[1]:.3f}" if value else ""


def _percent(value: float | None) -> int:
    return 0 if value is None else round(100 * min(1.0, max(0.0, value)))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(seconds=_seconds, figure=_figure, interval=_interval, percent=_percent)
    return environment


def render_status(status: Mapping[str, Any]) -> str:
    """The page as HTML. `status` as in `Status`; figures that are missing are shown as a dash."""
    source = files("daemon.web").joinpath("templates/status.html").read_text(encoding="utf-8")
    return (
        _environment()
        .from_string(source)
        .render(
            deployed=status.get("deployed"),
            cycle=status.get("cycle"),
            decisions=status.get("decisions") or [],
            commands=status.get("commands"),
            warnings=status.get("warnings") or [],
            version=status.get("version", ""),
            refresh_s=int(status.get("refresh_s", 15)),
        )
    )


@lru_cache(maxsize=1)
def stylesheet() -> str:
    return files("daemon.web").joinpath("assets/primum.css").read_text(encoding="utf-8")
