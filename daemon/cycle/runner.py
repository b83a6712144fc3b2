"""The state machine of one cycle. Every stage is idempotent: a killed cycle is simply run again.

running: prepare → sample → judge → prefer → train → validate → decide
  ├─ a gate is passed ──────→ waiting_for_approval ──→ released | rejected   (a person, releases.py)
  ├─ no candidate is better → no_winner
  ├─ a guard refuses ───────→ held, and run again once it is mended
  └─ an error ──────────────→ failed, and run again on demand
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from daemon.cycle.answers import Asking, Report, unscored_share
from daemon.cycle.incidents import incident_outcomes
from daemon.cycle.questions import Questions, training_asks
from daemon.cycle.report import write_report
from daemon.cycle.trainers import train_in_process
from daemon.cycle.trust import Trust, Trustee
from daemon.cycle.validation import Validator, judge_evidence
from daemon.release.artifacts import store_adapter
from daemon.store.rows import CycleRow, CycleState
from daemon.store.store import Store
from daemon.workshop import Workshop
from policies.digests import seed_from
from policies.engines.fidelity import fidelity
from policies.engines.transformers_engine import TransformersEngine
from policies.errors import Held, NotEnoughData, PrimumError, TrainingError
from policies.preferences import Preferences, dpo_pairs, kto_examples
from policies.records import Candidate, Context, Judged, Policy
from policies.splits import Splits, assert_no_leak
from policies.training.recipe import Recipe, TrainingJob
from policies.validation.config import GateConfig
from policies.validation.decide import Decision
from policies.validation.evidence import Answers, Evidence, IncidentOutcome

STAGES = ("prepare", "sample", "judge", "prefer", "train", "validate", "decide")


@dataclass(frozen=True)
class Plan:
    """What a cycle does, in plain values."""

    splits: Splits
    questions: Questions
    worked: Context
    gates: GateConfig
    recipes: Mapping[str, Recipe]
    references: tuple[tuple[str, str], ...]
    train_judge: str
    validate_judge: str
    second_judge: str | None
    max_new_tokens: int
    temperature: float
    top_k: int
    max_unscored: float
    least: int
    max_pairs: int | None
    max_examples: int | None
    training_timeout_s: float
    threads: int | None
    dtype: str


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
        folder: Path,
        adapters_dir: Path,
        now: Callable[[], datetime],
        report: Report,
    ) -> None:
        self._cycle, self._plan, self._store, self._workshop = cycle, plan, store, workshop
        self._trustee, self._folder, self._adapters_dir = trustee, folder, adapters_dir
        self._now, self._report = now, report
        self._asking = Asking(store=store, now=now, report=report, cycle_id=cycle.id)
        self._incumbent = store.releases.policy(cycle.incumbent_digest)
        self._validation_trust: Trust | None = None

    def run(self) -> CycleRow:
        """All stages in order. Guards hold the cycle, errors fail it; both say why and lose nothing."""
        try:
            for name in STAGES:
                self._stage(name)
        except (Held, NotEnoughData) as reason:
            return self._end(CycleState.HELD, str(reason))
        except PrimumError as error:
            return self._end(CycleState.FAILED, str(error))
        return self._store.cycles.get(self._cycle.id)

    def _stage(self, name: str) -> None:
        cycle_id = self._cycle.id
        self._store.cycles.advance(cycle_id, CycleState.RUNNING, CycleState.RUNNING, name, self._now())
        self._store.cycles.start_stage(cycle_id, name, self._now())
        self._report({"event": "stage", "stage": name, "index": STAGES.index(name), "of": len(STAGES)})
        began = time.monotonic()
        failed, detail = True, None
        try:
            detail = getattr(self, f"_do_{name}")()
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

    # --- stages -----------------------------------------------------------------------------------------

    def _do_prepare(self) -> dict[str, Any]:
        """Nothing is trained on what is tested on, and no judge is believed that was not measured."""
        splits = self._plan.splits
        assert_no_leak(splits.train, [*splits.selection, *splits.sealed])
        judge = self._workshop.judge(self._plan.train_judge)
        trained = self._trustee.require(judge, "train", cycle_id=self._cycle.id)
        self._validation_trust = self._trusted_validator()
        return {
            "splits": dict(splits.digests),
            "train_judge": trained.gate.sentence,
            "validate_judge": self._validation_trust.gate.sentence,
        }

    def _trusted_validator(self) -> Trust:
        if self._validation_trust is None:
            judge = self._workshop.judge(self._plan.validate_judge)
            self._validation_trust = self._trustee.require(judge, "validate", cycle_id=self._cycle.id)
        return self._validation_trust

    def _training_asks(self) -> list[Any]:
        plan = self._plan
        return training_asks(
            plan.questions.train,
            plan.worked,
            max_new_tokens=plan.max_new_tokens,
            temperature=plan.temperature,
            top_k=plan.top_k,
            seed=self._cycle.seed,
        )

    def _do_sample(self) -> dict[str, Any]:
        answered = self._asking.answer(
            self._workshop.engine, self._incumbent, self._training_asks(), purpose="train"
        )
        return {"responses": len(answered)}

    def _judged_for_training(self) -> list[Judged]:
        answered = self._asking.answer(
            self._workshop.engine, self._incumbent, self._training_asks(), purpose="train"
        )
        return self._asking.judge(
            lambda: self._workshop.judge(self._plan.train_judge), answered, purpose="train"
        )

    def _do_judge(self) -> dict[str, Any]:
        judged = self._judged_for_training()
        share = unscored_share(judged)
        if share > self._plan.max_unscored:
            raise Held(
                f"judge {self._plan.train_judge} left {share:.1%} of {len(judged)} answers unscored, "
                f"more than judging.max_unscored = {self._plan.max_unscored:.1%}; "
                "see `primum judge list`, then run again"
            )
        return {"verdicts": len(judged), "unscored_share": share}

    def _do_prefer(self) -> dict[str, Any]:
        judged = self._judged_for_training()
        counts: dict[str, Any] = {}
        for method in sorted({recipe.method for recipe in self._plan.recipes.values()}):
            try:
                preferences = self._prefer(method, judged)
            except NotEnoughData as error:
                counts[method] = str(error)
                continue
            self._write_preferences(preferences)
            counts[method] = {"rows": len(preferences), "digest": preferences.digest}
        if not any(isinstance(count, dict) for count in counts.values()):
            raise NotEnoughData("; ".join(str(reason) for reason in counts.values()))
        return counts

    def _prefer(self, method: str, judged: list[Judged]) -> Preferences:
        plan = self._plan
        if method == "dpo":
            return dpo_pairs(judged, seed=self._cycle.seed, least=plan.least, limit=plan.max_pairs)
        return kto_examples(judged, seed=self._cycle.seed, least=plan.least, limit=plan.max_examples)

    def _write_preferences(self, preferences: Preferences) -> Path:
        path = self._folder / f"{preferences.method}.jsonl"
        partial = path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(row) + "\n" for row in preferences.rows()))
        partial.replace(path)
        return path

    def _do_train(self) -> dict[str, Any]:
        judged = self._judged_for_training()
        self._workshop.put_away()  # the memory is the training process's now
        done: dict[str, Any] = {}
        for name, recipe in self._plan.recipes.items():
            try:
                done[name] = self._train(name, recipe, judged)
            except (TrainingError, NotEnoughData) as error:
                # One method's failure leaves the other's candidate alive, and says so.
                self._store.results.save_failed_candidate(
                    self._cycle.id,
                    method=name,
                    parent_digest=self._incumbent.digest,
                    preferences_digest="",
                    recipe_digest=recipe.digest,
                    error=str(error),
                    at=self._now(),
                )
                self._report({"event": "warning", "text": f"candidate {name} failed: {error}"})
                done[name] = {"error": str(error)}
        if all("error" in one for one in done.values()):
            raise TrainingError("; ".join(str(one["error"]) for one in done.values()))
        return done

    def _train(self, name: str, recipe: Recipe, judged: list[Judged]) -> dict[str, Any]:
        preferences = self._prefer(recipe.method, judged)
        candidate_key = Candidate(
            name, self._incumbent.digest, preferences.digest, recipe.digest, self._incumbent
        ).key
        known = self._store.results.trained(candidate_key)
        if known is not None and known.policy.adapter_path and known.policy.adapter_path.is_dir():
            self._store.results.save_candidate(self._cycle.id, known, self._now())
            return {"adapter": known.policy.adapter_digest, "found": True}
        job = TrainingJob(
            recipe=recipe,
            base_path=str(self._workshop.model_path),
            base_digest=self._incumbent.base_digest,
            parent_adapter=str(self._incumbent.adapter_path) if self._incumbent.adapter_path else None,
            parent_digest=self._incumbent.digest,
            # Written again: an answer that was unscored when preferences were made may have a label by now,
            # and the card must name what was trained on.
            preferences_path=str(self._write_preferences(preferences)),
            preferences_digest=preferences.digest,
            output_dir=str(self._folder / name),
            seed=seed_from(self._cycle.seed, "train", name),
            threads=self._plan.threads,
            dtype=self._plan.dtype,
        )
        self._report({"event": "progress", "what": f"training {name}", "done": 0, "of": 0})
        card = train_in_process(
            job,
            job_file=self._folder / f"{name}.job.json",
            timeout_s=self._plan.training_timeout_s,
            report=lambda event: self._report({**event, "candidate": name}),
        )
        digest, path = store_adapter(self._folder / name, self._adapters_dir)
        policy = Policy(self._incumbent.base_digest, digest, path)
        candidate = Candidate(name, self._incumbent.digest, preferences.digest, recipe.digest, policy, card)
        self._store.releases.save_policy(policy, self._now())
        self._store.results.save_candidate(self._cycle.id, candidate, self._now())
        return {"adapter": digest, "rows": len(preferences), "seconds": card["seconds"]}

    def _validator(self) -> Validator:
        plan = self._plan
        second = plan.second_judge
        return Validator(
            asking=self._asking,
            engine=self._workshop.engine,
            judge=lambda: self._workshop.judge(plan.validate_judge),
            second=(lambda: self._workshop.judge(second)) if second else None,
            questions=plan.questions,
            max_new_tokens=plan.max_new_tokens,
            open_sealed=lambda: self._store.evidence.open_split(
                plan.splits.digests["sealed"], "sealed", "promotion", self._cycle.id, self._now()
            ),
        )

    def _do_validate(self) -> dict[str, Any]:
        evidence, _ = self._evidence()
        return {one.name: {"n": len(one.judged)} for one in (evidence.incumbent, *evidence.candidates)}

    def _fidelity(self, policy: Policy) -> tuple[float, float] | None:
        engine = self._workshop.engine()
        if not isinstance(engine, TransformersEngine) or not self._plan.references:
            return None  # a remote engine gives no logits over references; the gate says that it is undecided
        return fidelity(engine, policy, self._plan.references)

    def _answers(self, validator: Validator, policy: Policy, *, role: str, key: str, name: str) -> Answers:
        path = self._folder / f"fidelity-{policy.digest[:16]}.json"
        if path.is_file():
            found = json.loads(path.read_text())
        else:
            found = self._fidelity(policy)
            path.write_text(json.dumps(found))
        return validator.answers(
            policy, role=role, key=key, name=name, fidelity=tuple(found) if found else None
        )

    def _evidence(self) -> tuple[Evidence, dict[str, Policy]]:
        plan, validator = self._plan, self._validator()
        base = Policy(self._incumbent.base_digest)
        is_base = self._incumbent.digest == base.digest
        incumbent = self._answers(
            validator, self._incumbent, role="incumbent", key=self._incumbent.digest, name="incumbent"
        )
        policies = {incumbent.key: self._incumbent}
        candidates = []
        for row in self._store.results.candidates(self._cycle.id):
            if row.policy_digest is None:
                continue
            policy = self._store.releases.policy(row.policy_digest)
            policies[row.key] = policy
            candidates.append(
                self._answers(validator, policy, role="candidate", key=row.key, name=row.method)
            )
        champions = self._champions(validator, {self._incumbent.digest, base.digest})
        evidence = Evidence(
            incumbent=incumbent,
            candidates=tuple(candidates),
            base=None
            if is_base
            else self._answers(validator, base, role="base", key=base.digest, name="base"),
            champions=champions,
            incidents=self._incidents(champions, policies),
            judge=judge_evidence(self._trusted_validator(), trained_with=plan.train_judge),
            cycle_number=self._cycle_number(),
            second_name=plan.second_judge or "",
            sealed_openings=self._store.evidence.openings(plan.splits.digests["sealed"], "sealed"),
            seed=self._cycle.seed,
        )
        if is_base:
            evidence = replace(evidence, base=replace(incumbent, role="base", name="base"))
        return evidence, policies

    def _incidents(
        self, champions: tuple[Answers, ...], policies: Mapping[str, Policy]
    ) -> tuple[IncidentOutcome, ...]:
        releases = {one.name: self._store.releases.policy(one.key) for one in champions}
        return incident_outcomes(
            store=self._store,
            asking=self._asking,
            engine=self._workshop.engine,
            judge=lambda: self._workshop.judge(self._plan.validate_judge),
            releases=releases | {"incumbent": self._incumbent},
            candidates={key: policy for key, policy in policies.items() if key != self._incumbent.digest},
            max_new_tokens=self._plan.max_new_tokens,
        )

    def _champions(self, validator: Validator, known: set[str]) -> tuple[Answers, ...]:
        """Past releases that answer from this base, oldest first, without the incumbent and the base."""
        champions = []
        for release in reversed(self._store.releases.history()):
            if release.policy_digest in known:
                continue
            known.add(release.policy_digest)
            policy = self._store.releases.policy(release.policy_digest)
            if policy.base_digest != self._incumbent.base_digest:
                continue
            champions.append(
                self._answers(
                    validator, policy, role="champion", key=policy.digest, name=f"release {release.id}"
                )
            )
        return tuple(champions)

    def _cycle_number(self) -> int:
        """This cycle's place among the decided ones, from 1: each spends some of the error budget."""
        earlier = [row for row in self._store.cycles.recent(10_000) if row.id < self._cycle.id]
        return 1 + sum(self._store.results.decision(row.id) is not None for row in earlier)

    def _do_decide(self) -> dict[str, Any]:
        evidence, policies = self._evidence()
        decision, evidence = self._validator().decide(evidence, self._plan.gates, policies)
        for one in (evidence.incumbent, *evidence.candidates):
            self._store.results.save_scorecard(
                self._cycle.id,
                policy_digest=policies[one.key].digest,
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
        state = CycleState.WAITING if decision.winner_key else CycleState.NO_WINNER
        self._store.cycles.advance(
            self._cycle.id, CycleState.RUNNING, state, "decide", self._now(), message=decision.sentence
        )
        return {"outcome": decision.outcome, "winner": decision.winner_key}


def _card(decision: Decision, one: Answers) -> dict[str, Any]:
    """The decision keys its scorecards by role, candidates by their key."""
    return decision.scorecards[one.key if one.role == "candidate" else one.role].to_json()
