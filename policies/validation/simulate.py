"""What do the gates do in the long run? Thousands of synthetic experiments with a known truth.

Every experiment is ruled by decide.rule, the core that rules real cycles; only scorecards and sentences are
left out. Rates come with exact (Clopper–Pearson) 95 % intervals, and a claim holds when its interval does.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import binomtest

from policies.digests import seed_from
from policies.errors import ConfigurationError
from policies.validation.cases import Shared
from policies.validation.config import GateConfig
from policies.validation.decide import PROMOTE, Ruling, rule, with_ss_tests
from policies.validation.evidence import JudgeEvidence
from policies.validation.outcomes import PASS
from policies.validation.worlds import Truth, World, experiment

RESAMPLES = 400  # a simulation's bootstrap; the superiority test draws more where its alpha asks for it
Progress = Callable[[str, int, int], None]  # scenario, done, of
_LEVEL = 0.95


@dataclass(frozen=True)
class Scenario:
    """Promotions of candidate `counted` count, of any where it is None. `claim`: "at most" or "at least"
    `limit`; a limit of None stands for the alpha that `cycles` cycles spend. `world` changes the World.
    """

    name: str
    description: str
    truths: tuple[Truth, ...]
    claim: str
    limit: float | None
    counted: int | None = None
    cycles: int = 1
    world: Mapping[str, Any] = field(default_factory=dict)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "null", "two candidates, neither better than the incumbent", (Truth(), Truth()), "at most", None
    ),
    Scenario(
        "null over 5 cycles",
        "the same in five cycles running, any promotion counts",
        (Truth(), Truth()),
        "at most",
        None,
        cycles=5,
    ),
    Scenario(
        "correlated rewrites",
        "no difference, four rewrites a base prompt that answer alike",
        (Truth(), Truth()),
        "at most",
        None,
        world={"rewrites": 4, "correlation": 0.9},
    ),
    Scenario(
        "true gain",
        "one candidate with a true SS gain of 0.05, one without",
        (Truth(gain=0.05), Truth()),
        "at least",
        0.8,
        counted=0,
    ),
    Scenario(
        "judge gaming",
        "truth falls by 0.05 while half of the wrong answers fool the judge",
        (Truth(gain=-0.05, fooling=0.5), Truth()),
        "at most",
        0.01,
        counted=0,
    ),
    Scenario(
        "selection only",
        "a gain of 0.10 on selection prompts that is not there on sealed ones",
        (Truth(gain=0.10, sealed_gain=0.0), Truth()),
        "at most",
        0.05,
        counted=0,
    ),
)


@dataclass(frozen=True)
class SimulationResult:
    """`promoted` of `experiments`, interval `low` to `high`; `holds`: the claim does, to the interval's end.

    `ss_passed`: experiments in which a counted candidate passed the superiority gate alone, the rate that
    alpha bounds. `stopped_by`: counted candidates by the first gate that did not pass them.
    """

    scenario: str
    description: str
    experiments: int
    prompts: int
    promoted: int
    rate: float
    low: float
    high: float
    claim: str
    limit: float
    holds: bool
    ss_passed: int
    ss_rate: float
    ss_low: float
    ss_high: float
    judged_change: float
    true_change: float
    stopped_by: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def scenario(name: str) -> Scenario:
    """The scenario of that name. ConfigurationError lists the names otherwise."""
    for one in SCENARIOS:
        if one.name == name:
            return one
    raise ConfigurationError(
        f"scenario {name!r} is unknown; choose from {', '.join(s.name for s in SCENARIOS)}"
    )


@dataclass(frozen=True)
class _Seen:
    """What one experiment came to: was a counted candidate promoted, did one pass the superiority gate, which
    gates stopped them, and the judged and true SS change of the first of them in each cycle.
    """

    promoted: bool
    passed: bool
    stops: tuple[str, ...]
    changes: tuple[tuple[float, float], ...]


def simulate(
    config: GateConfig,
    chosen: Scenario,
    *,
    experiments: int = 2000,
    world: World | None = None,
    stored: Mapping[str, Sequence[Sequence[float]]] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
    jobs: int = 1,
) -> SimulationResult:
    """Run one scenario. `stored`: confusion counts of a real judge (see scorecards.calibration_counts).

    Each experiment has a seed of its own, so `jobs` processes find what one finds.
    """
    if experiments < 1:
        raise ConfigurationError(f"experiments: {experiments} is less than 1")
    ground = replace(world or World(), **chosen.world)
    light = config.with_resamples(resamples)
    seen: list[_Seen] = []
    for one in _each(partial(_experiment, light, chosen, ground, stored, seed), experiments, jobs):
        seen.append(one)
        if progress is not None:
            progress(chosen.name, len(seen), experiments)
    return _result(chosen, light, ground, seen)


def _each(run: Callable[[int], _Seen], experiments: int, jobs: int) -> Iterator[_Seen]:
    if jobs <= 1:
        yield from map(run, range(experiments))
        return
    # spawn: a forked child would inherit the threads of numpy's libraries in whatever state they are
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(run, range(experiments), chunksize=5)


def _experiment(
    config: GateConfig,
    chosen: Scenario,
    ground: World,
    stored: Mapping[str, Sequence[Sequence[float]]] | None,
    seed: int,
    number: int,
) -> _Seen:
    rng = np.random.default_rng(seed_from(seed, chosen.name, number))
    won = through = False
    stops: list[str] = []
    changes: list[tuple[float, float]] = []
    for cycle in range(1, chosen.cycles + 1):
        drawn = experiment(ground, chosen.truths, rng, stored)
        shared = _shared(config, drawn.confusion, cycle, len(chosen.truths), int(rng.integers(2**31)))
        shared = with_ss_tests(drawn.cases, shared, config)
        ruling = rule(drawn.cases, shared, config, thorough=False)
        keys = [case.key for case in drawn.cases] if chosen.counted is None else [_key(chosen.counted)]
        won |= ruling.outcome == PROMOTE and ruling.winner_key in keys
        through |= any(test.outcome == PASS for key in keys if (test := shared.ss[key]) is not None)
        stops += _stops(ruling, keys)
        test = shared.ss[keys[0]]
        judged = 0.0 if test is None else test.interval.estimate
        changes.append((judged, drawn.true_changes[int(keys[0].rsplit("-", 1)[1])]))
    return _Seen(won, through, tuple(stops), tuple(changes))


def simulate_all(config: GateConfig, **options: Any) -> list[SimulationResult]:
    """Every scenario, with simulate's options."""
    return [simulate(config, one, **options) for one in SCENARIOS]


def to_markdown(results: Sequence[SimulationResult]) -> str:
    """The table of the documentation."""
    head = (
        "| scenario | experiments | SS change, true | SS change, judged | promoted (95 % interval) | claim "
        "| holds | superiority gate alone | stopped first by |\n|---|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(map(_row, results))


def _row(found: SimulationResult) -> str:
    gates = sorted(found.stopped_by.items(), key=lambda item: -item[1])[:3]
    by = ", ".join(f"{name} {count}" for name, count in gates)
    return (
        f"| {found.scenario}: {found.description} | {found.experiments} × {found.prompts} prompts | "
        f"{found.true_change:+.3f} | {found.judged_change:+.3f} | "
        f"{found.rate:.2%} ({found.low:.2%} to {found.high:.2%}) | {found.claim} {found.limit:.2%} | "
        f"{'yes' if found.holds else '**no**'} | "
        f"{found.ss_rate:.2%} ({found.ss_low:.2%} to {found.ss_high:.2%}) | {by} |\n"
    )


def _shared(
    config: GateConfig, confusion: dict[str, list[list[float]]], cycle: int, family: int, seed: int
) -> Shared:
    judge = JudgeEvidence(
        name="simulated judge",
        digest="simulated",
        trained_with="simulated training judge",
        calibrated=True,
        calibration_sentence="simulated",
        confusion=confusion,
        sentinel_steady=True,
        sentinel_sentence="simulated",
    )
    return Shared(
        judge=judge,
        second_name="simulated second judge",
        sealed_openings=1,
        incidents=(),
        family=family,
        alpha=config.alpha_for(cycle),
        base_known=True,
        seed=seed,
        ss={},
    )


def _stops(ruling: Ruling, keys: Sequence[str]) -> list[str]:
    firsts = [next((gate.name for gate in ruling.gates[key] if not gate.passed), None) for key in keys]
    return [name for name in firsts if name is not None]


def _key(number: int) -> str:
    return f"candidate-{number}"


def _result(chosen: Scenario, config: GateConfig, world: World, seen: Sequence[_Seen]) -> SimulationResult:
    experiments = len(seen)
    promoted, passed = sum(one.promoted for one in seen), sum(one.passed for one in seen)
    low, high = clopper_pearson(promoted, experiments)
    ss_low, ss_high = clopper_pearson(passed, experiments)
    limit = chosen.limit
    if limit is None:
        limit = config.alpha.plan().spent_through(chosen.cycles)
    judged, true = np.mean([change for one in seen for change in one.changes], axis=0)
    return SimulationResult(
        scenario=chosen.name,
        description=chosen.description,
        experiments=experiments,
        prompts=world.prompts,
        promoted=promoted,
        rate=promoted / experiments,
        low=low,
        high=high,
        claim=chosen.claim,
        limit=limit,
        holds=low >= limit if chosen.claim == "at least" else high <= limit,
        ss_passed=passed,
        ss_rate=passed / experiments,
        ss_low=ss_low,
        ss_high=ss_high,
        judged_change=float(judged),
        true_change=float(true),
        stopped_by=dict(Counter(stop for one in seen for stop in one.stops)),
    )


def clopper_pearson(events: int, trials: int) -> tuple[float, float]:
    """Exact 95 % interval of a rate."""
    found = binomtest(events, trials).proportion_ci(_LEVEL, method="exact")
    return float(found.low), float(found.high)
