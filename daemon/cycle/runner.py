"""The state machine of one cycle. Every stage is idempotent: a killed cycle is simply run again.

running: prepare → sample → judge → prefer → train → validate → decide
  ├─ a gate is passed ──────→ waiting_for_approval ──→ released | rejected   (a person, releases.py)
  ├─ no candidate is better → no_winner
  ├─ a guard refuses ───────→ held, and run again once it is mended
  └─ an error ──────────────→ failed, and run again on demand
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from daemon.cycle.answers import Asking, Report
from daemon.cycle.gathering import Gathering
from daemon.cycle.labelled import await_labels
from daemon.cycle.oscillating import write_oscillations
from daemon.cycle.plan import Plan
from daemon.cycle.report import write_report
from daemon.cycle.run import CycleRun
from daemon.cycle.trainers import Trainers
from daemon.cycle.training import Training
from daemon.cycle.trust import Trust, Trustee
from daemon.cycle.unseen import assert_unseen
from daemon.cycle.validation import Validator
from daemon.stages import COMPARED, STAGES
from daemon.store.rows import CycleRow, CycleState
from daemon.store.store import Store
from daemon.workshop import Workshop
from policies.errors import Held, NotEnoughData, PrimumError
from policies.splits import assert_no_leak
from policies.validation.decide import Decision
from policies.validation.evidence import Answers

Stage = Callable[[], dict[str, Any]]


class CycleRunner:
    """Runs one cycle to a state that needs a person, or to its end."""

    def __init__(
        self,
        *,
        cycle: CycleRow,
        plan: Plan,
        store: Store,
        workshop: Workshop,
        trustee: Trustee,
        trainers: Trainers,
        folder: Path,
        adapters_dir: Path,
        now: Callable[[], datetime],
        report: Report,
    ) -> None:
        self._cycle, self._plan, self._store, self._workshop = cycle, plan, store, workshop
        self._trustee, self._folder, self._now, self._report = trustee, folder, now, report
        asking = Asking(store=store, now=now, report=report, cycle_id=cycle.id)
        self._validator = self._make_validator(asking)
        run = CycleRun(
            cycle=cycle,
            plan=plan,
            store=store,
            workshop=workshop,
            asking=asking,
            trainers=trainers,
            incumbent=store.releases.policy(cycle.incumbent_digest),
            folder=folder,
            adapters_dir=adapters_dir,
            now=now,
            report=report,
        )
        training = Training(run)
        self._gathering = Gathering(
            run,
            validator=self._validator,
            entrants=lambda: training.made,
            trust=lambda: self._validation_trust,
            training_trust=lambda: self._training_trust,
        )
        stages = (
            self._prepare,
            training.sample,
            training.judge,
            training.prefer,
            training.train,
            self._validate,
            self._decide,
        )
        self._stages: dict[str, Stage] = dict(zip(STAGES, stages, strict=True))

    def run(self) -> CycleRow:
        """All stages in order. Guards hold the cycle, errors fail it; both say why and lose nothing."""
        try:
            for name, stage in self._stages.items():
                self._run_stage(name, stage)
        except (Held, NotEnoughData) as reason:
            return self._end(CycleState.HELD, str(reason))
        except PrimumError as error:
            return self._end(CycleState.FAILED, str(error))
        return self._store.cycles.get(self._cycle.id)

    def _run_stage(self, name: str, stage: Stage) -> None:
        cycle_id = self._cycle.id
        self._store.cycles.advance(cycle_id, CycleState.RUNNING, CycleState.RUNNING, name, self._now())
        self._store.cycles.start_stage(cycle_id, name, self._now())
        self._report({"event": "stage", "stage": name, "index": STAGES.index(name), "of": len(STAGES)})
        began = time.monotonic()
        failed, detail = True, None
        try:
            detail = stage()
            failed = False
        finally:
            self._store.cycles.finish_stage(
                cycle_id, name, self._now(), seconds=time.monotonic() - began, detail=detail, failed=failed
            )

    def _end(self, state: CycleState, message: str) -> CycleRow:
        stage = self._store.cycles.get(self._cycle.id).stage
        return self._store.cycles.advance(
            self._cycle.id, CycleState.RUNNING, state, stage, self._now(), message=message
        )

    # --- stages that are not training's -----------------------------------------------------------------

    def _prepare(self) -> dict[str, Any]:
        """Nothing is tested on what was trained on, and no judge is believed that was not measured."""
        splits = self._plan.splits
        assert_no_leak(splits.train, [*splits.selection, *splits.sealed])
        assert_unseen(self._store, splits, split_seed=self._plan.split_seed)
        return {
            "splits": dict(splits.digests),
            "train_judge": self._training_trust.gate.sentence,
            "validate_judge": self._validation_trust.gate.sentence,
        }

    @cached_property
    def _training_trust(self) -> Trust:
        judge = self._workshop.judge(self._plan.train_judge)
        return self._trustee.require(judge, "train", cycle_id=self._cycle.id)

    @cached_property
    def _validation_trust(self) -> Trust:
        judge = self._workshop.judge(self._plan.validate_judge)
        return self._trustee.require(judge, "validate", cycle_id=self._cycle.id)

    def _make_validator(self, asking: Asking) -> Validator:
        plan = self._plan
        second = plan.second_judge
        return Validator(
            asking=asking,
            engine=self._workshop.engine,
            judge=lambda: self._workshop.judge(plan.validate_judge),
            second=(lambda: self._workshop.judge(second)) if second else None,
            sealed=plan.questions.sealed,
            max_new_tokens=plan.max_new_tokens,
            open_sealed=lambda: self._store.evidence.open_split(
                plan.splits.digests["sealed"], "sealed", "promotion", self._cycle.id, self._now()
            ),
        )

    def _validate(self) -> dict[str, Any]:
        found = self._gathering.result
        runners = (found.evidence.incumbent, *found.evidence.candidates)
        told: dict[str, Any] = {one.name: {"n": len(one.judged)} for one in runners} | {
            stop.name: {"n": stop.prompts, "stopped": stop.sentence} for stop in found.stopped
        }
        keys = [one.key for one in found.evidence.candidates]
        return told | {COMPARED: {"keys": keys, "judge": found.evidence.judge.digest}}

    def _decide(self) -> dict[str, Any]:
        found = self._gathering.result
        await_labels(found.evidence, wanted=self._plan.labelled_prompts, cycle_id=self._cycle.id)
        decision, evidence = self._validator.decide(found.evidence, self._plan.gates, found.policies)
        reasons = tuple(stop.sentence for stop in found.stopped)
        decision = replace(decision, warnings=(*decision.warnings, *reasons))
        for one in (evidence.incumbent, *evidence.candidates):
            self._store.results.save_scorecard(
                self._cycle.id,
                policy_digest=found.policies[one.key].digest,
                role=one.role,
                split="selection",
                judge_digest=evidence.judge.digest,
                body={"name": one.name, **_card(decision, one)},
                at=self._now(),
            )
        self._store.results.save_decision(
            self._cycle.id,
            outcome=decision.outcome,
            winner_key=decision.winner_key,
            body=decision.to_json(),
            at=self._now(),
        )
        write_report(self._folder / "report", decision, evidence, self._plan.gates)
        oscillating = write_oscillations(self._folder / "report", evidence)
        state = CycleState.WAITING if decision.winner_key else CycleState.NO_WINNER
        self._store.cycles.advance(
            self._cycle.id, CycleState.RUNNING, state, "decide", self._now(), message=decision.sentence
        )
        return {"outcome": decision.outcome, "winner": decision.winner_key, "oscillations": oscillating}


def _card(decision: Decision, one: Answers) -> dict[str, Any]:
    """The decision keys its scorecards by role, candidates by their key."""
    return decision.scorecards[one.key if one.role == "candidate" else one.role].to_json()
