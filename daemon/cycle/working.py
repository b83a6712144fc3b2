"""What a worker does: the open cycle, or a new one, to the next state that needs a person."""

from __future__ import annotations

from daemon.cycle.planning import calibration_rows, make_plan
from daemon.cycle.runner import CycleRunner
from daemon.cycle.telling import tell
from daemon.cycle.trainers import Trainers
from daemon.cycle.trust import Trustee
from daemon.store.rows import CycleRow, CycleState
from daemon.wiring import Place
from daemon.workshop import Workshop, shipped_reports
from judges.calibration.gate import Bars
from policies.digests import seed_from
from policies.engines.models import load_libraries
from policies.errors import StateError


def run_cycle(place: Place, trainers: Trainers) -> CycleRow:
    """Run the open cycle, or a new one, to the next state that needs a person."""
    settings, store = place.settings, place.store
    unfinished = store.cycles.open_cycle()
    if unfinished is not None and unfinished.state is CycleState.WAITING:
        tell({"event": "cycle", "cycle": unfinished.id, "state": unfinished.state.value})
        return unfinished
    first = store.releases.deployed() is None
    if first:
        tell({"event": "progress", "what": "preparing the base model", "done": 0, "of": 1})
    plan = make_plan(settings, cycle_seed=unfinished.seed if unfinished else _next_seed(place))
    if first:
        load_libraries()  # another process converts meanwhile, most likely
    # Asked in every cycle: under another base model answers would be filed as the released policy's.
    base = Workshop(settings=settings, paths=place.paths, store=store).base_policy
    store.releases.record_initial(base, place.now())
    if first:
        tell({"event": "progress", "what": "preparing the base model", "done": 1, "of": 1})
    cycle = _taken_up(place, unfinished) if unfinished else _new(place)
    tell({"event": "cycle", "cycle": cycle.id, "state": cycle.state.value})
    if cycle.state is CycleState.HELD:
        cycle = store.cycles.advance(cycle.id, CycleState.HELD, CycleState.RUNNING, cycle.stage, place.now())
    judging = settings.judging
    runner = CycleRunner(
        cycle=cycle,
        plan=plan,
        store=store,
        workshop=Workshop(settings=settings, paths=place.paths, store=store, cycle_id=cycle.id),
        trustee=Trustee(
            store=store,
            bars=Bars(
                judging.train_kappa, judging.validate_kappa, judging.max_age_days, judging.max_unscored
            ),
            now=place.now,
            labels=calibration_rows(settings),
            sentinel_alpha=judging.sentinel_alpha,
            seed=settings.seed,
            shipped=shipped_reports(judging.registry),
        ),
        trainers=trainers,
        folder=place.paths.cycle(cycle.id),
        adapters_dir=place.paths.adapters,
        now=place.now,
        report=tell,
    )
    return runner.run()


def _taken_up(place: Place, cycle: CycleRow) -> CycleRow:
    """An unfinished cycle goes on; if the configuration changed since it began, that is said and logged."""
    digest = place.settings.digest
    if cycle.config_digest != digest:
        place.store.cycles.log("configuration_changed", place.now(), cycle.id, digest=digest)
        tell({"event": "warning", "text": f"the configuration changed since cycle {cycle.id} began"})
    return cycle


def _new(place: Place) -> CycleRow:
    store, settings = place.store, place.settings
    deployed = store.releases.deployed()
    if deployed is None:
        raise StateError("nothing is deployed yet; run `primum serve` or `primum cycle run` again")
    return store.cycles.create(
        incumbent=store.releases.policy(deployed.policy_digest),
        seed=_next_seed(place),
        config_digest=settings.digest,
        config=settings.public(),
        at=place.now(),
        stage="prepare",
    )


def _next_seed(place: Place) -> int:
    """That of the next new cycle."""
    latest = place.store.cycles.latest()
    return seed_from(place.settings.seed, "cycle", latest.id + 1 if latest else 1)
