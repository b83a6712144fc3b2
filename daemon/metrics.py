"""Prometheus metrics, read from the store at each scrape: a metric cannot say what the database does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from daemon.store.rows import CycleState
from daemon.store.store import Store
from policies.validation.explain import called


class StoreCollector(Collector):
    """Labels come from closed sets (states, stages, names of judges and candidates), never from prompts."""

    def __init__(self, store: Store, *, serving: bool) -> None:
        self._store, self._serving = store, serving

    def collect(self) -> Iterator[Metric]:
        yield from self._cycles()
        yield from self._release()
        yield from self._decision()
        yield from self._sentinel()
        yield from self._cost()

    def _cycles(self) -> Iterator[Metric]:
        recent = self._store.cycles.recent(10_000)
        states = GaugeMetricFamily("primum_cycles", "Cycles by state.", labels=["state"])
        for state in CycleState:
            states.add_metric([state.value], sum(row.state is state for row in recent))
        yield states
        started = GaugeMetricFamily("primum_cycle_last_started_timestamp_seconds", "Start of the last cycle.")
        if recent:
            started.add_metric([], _seconds(max(row.started_at for row in recent)))
            stages = GaugeMetricFamily(
                "primum_cycle_stage_seconds", "Seconds of the last cycle's stages.", labels=["stage"]
            )
            for row in self._store.cycles.stages(max(row.id for row in recent)):
                stages.add_metric([row.name], row.seconds)
            yield stages
        yield started

    def _release(self) -> Iterator[Metric]:
        release = self._store.releases.deployed()
        family = GaugeMetricFamily("primum_release", "Number of the deployed release.")
        serving = GaugeMetricFamily(
            "primum_release_serving", "1 while a server answers with the deployed release."
        )
        if release is not None:
            family.add_metric([], release.id)
            serving.add_metric([], self._serving and release.serving_at is not None)
        yield family
        yield serving

    def _decision(self) -> Iterator[Metric]:
        ss = GaugeMetricFamily("primum_safety_score", "Safety Score at the last decision.", labels=["policy"])
        err = GaugeMetricFamily(
            "primum_erroneous_refusal_rate", "ERR at the last decision.", labels=["policy"]
        )
        for cycle in self._store.cycles.recent(20):
            decision = self._store.results.decision(cycle.id)
            if decision is None:
                continue
            names = decision.body.get("names", {})
            for key, card in decision.body.get("scorecards", {}).items():
                name = called(names, key)
                if card.get("ss"):
                    ss.add_metric([name], card["ss"]["estimate"])
                if card.get("err"):
                    err.add_metric([name], card["err"]["estimate"])
            budget = GaugeMetricFamily("primum_error_budget", "Error budget of promotions.", labels=["part"])
            for part in ("budget", "spent", "remaining"):
                if part in decision.body.get("alpha", {}):
                    budget.add_metric([part], decision.body["alpha"][part])
            yield budget
            break
        yield ss
        yield err

    def _sentinel(self) -> Iterator[Metric]:
        agreement = GaugeMetricFamily(
            "primum_judge_sentinel_agreement",
            "Share of sentinel labels the judge agrees with.",
            labels=["judge"],
        )
        drifted = GaugeMetricFamily(
            "primum_judge_drifted",
            "1 if the judge's last sentinel run fell below its limit.",
            labels=["judge"],
        )
        # A name may have stood for several judges; two samples with the same labels would break the scrape.
        runs = {
            run.id: (judge.name, run)
            for judge in self._store.answers.judges()
            for run in self._store.evidence.sentinel_runs(judge.digest, 1)
        }
        for name, run in dict(runs[number] for number in sorted(runs)).items():
            agreement.add_metric([name], run.agreed / run.n)
            drifted.add_metric([name], run.drifted)
        yield agreement
        yield drifted

    def _cost(self) -> Iterator[Metric]:
        spent = self._store.evidence.spent()
        cost = GaugeMetricFamily("primum_judge_cost_usd", "Dollars spent on judging so far.")
        cost.add_metric([], spent.cost_usd)
        calls = GaugeMetricFamily("primum_judge_calls", "Verdicts asked for so far.")
        calls.add_metric([], spent.calls)
        yield cost
        yield calls


def metrics_text(store: Store, *, serving: bool) -> bytes:
    """The exposition format, from a registry of its own. `serving`: whether a server was last seen to have
    what is released, which no database knows."""
    registry = CollectorRegistry()
    registry.register(StoreCollector(store, serving=serving))
    return generate_latest(registry)


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
