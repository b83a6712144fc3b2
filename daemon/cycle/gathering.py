"""All that a decision rests on, gathered once a run: answers, champions, incidents, fidelity, the judge."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from daemon.cycle.incidents import incident_outcomes
from daemon.cycle.racing import INCUMBENT, Race, Raced, Stop
from daemon.cycle.run import CycleRun
from daemon.cycle.trust import Trust
from daemon.cycle.validation import Validator, judge_evidence
from policies.digests import digest_of
from policies.records import Candidate, Judged, Policy, Prompt
from policies.validation.evidence import Answers, Evidence, IncidentOutcome
from policies.validation.human import settle


@dataclass(frozen=True)
class Gathered:
    """`policies`: incumbent and candidates that came to the end, by key. `stopped`: who did not."""

    evidence: Evidence
    policies: Mapping[str, Policy]
    stopped: tuple[Stop, ...]


class Gathering:
    """Everybody's answers to the same held-out prompts, and what else the gates ask for."""

    def __init__(
        self,
        run: CycleRun,
        *,
        validator: Validator,
        entrants: Callable[[], Sequence[Candidate]],
        trust: Callable[[], Trust],
        training_trust: Callable[[], Trust],
    ) -> None:
        self._run, self._validator = run, validator
        self._entrants, self._trust, self._training_trust = entrants, trust, training_trust

    @cached_property
    def result(self) -> Gathered:
        """Asked again it is the same: validation and decision must speak of the same verdicts."""
        plan, trust = self._run.plan, self._trust()
        base = Policy(self._run.incumbent.base_digest)
        entrants = sorted(self._entrants(), key=lambda one: (one.method, one.key))
        names = {one.key: one.method for one in entrants}
        policies = {one.key: one.policy for one in entrants}
        raced = self._race(names, policies, trust)
        for stop in raced.stopped:
            self._run.report({"event": "warning", "text": stop.sentence})
        incumbent = self._answers(
            self._run.incumbent,
            raced.judged[INCUMBENT],
            role="incumbent",
            key=self._run.incumbent.digest,
            name="incumbent",
        )
        running = [key for key in names if key in raced.judged]
        candidates = [
            self._answers(policies[key], raced.judged[key], role="candidate", key=key, name=names[key])
            for key in running
        ]
        if self._run.incumbent.digest == base.digest:
            base_answers = replace(incumbent, role="base", name="base")
        else:
            base_answers = self._asked(base, role="base", name="base")
        champions = self._champions({self._run.incumbent.digest, base.digest})
        finishers = {key: policies[key] for key in running}
        evidence = Evidence(
            incumbent=incumbent,
            candidates=tuple(candidates),
            base=base_answers,
            champions=champions,
            incidents=self._incidents(base, champions, finishers),
            judge=judge_evidence(
                trust,
                training=self._training_trust(),
                trained_by=self._run.workshop.judge(plan.train_judge),
                second=self._run.workshop.judge(plan.second_judge) if plan.second_judge else None,
            ),
            cycle_number=self._cycle_number(),
            second_name=plan.second_judge or "",
            sealed_openings=self._run.store.evidence.openings(plan.splits.digests["sealed"], "sealed"),
            human=settle((one.answer_digest, one.label) for one in self._run.store.evidence.labels()),
            raced_out=tuple(stop.name for stop in raced.stopped),
            seed=self._run.cycle.seed,
        )
        return Gathered(evidence, {incumbent.key: self._run.incumbent, **finishers}, raced.stopped)

    def _race(self, names: Mapping[str, str], policies: Mapping[str, Policy], trust: Trust) -> Raced:
        plan, runners = self._run.plan, {INCUMBENT: self._run.incumbent, **policies}

        def ask(key: str, prompts: Sequence[Prompt]) -> Sequence[Judged]:
            return self._validator.judged(runners[key], prompts, "selection")

        return Race(
            looks=plan.race_looks,
            error=plan.race_error,
            seed=self._run.cycle.seed,
            record=self._run.folder / "race.json",
            context=[trust.digest, self._run.incumbent.digest],
        ).run(plan.questions.selection, names, ask)

    def _answers(
        self, policy: Policy, judged: Sequence[Judged], *, role: str, key: str, name: str
    ) -> Answers:
        found = self._fidelity(policy)
        return Answers(
            role=role,
            key=key,
            name=name,
            judged=tuple(judged),
            second=self._validator.second_labels(judged),
            perplexity=found[0] if found else None,
            kl_to_base=found[1] if found else None,
        )

    def _asked(self, policy: Policy, *, role: str, name: str) -> Answers:
        judged = self._validator.judged(policy, self._run.plan.questions.selection, "selection")
        return self._answers(policy, judged, role=role, key=policy.digest, name=name)

    def _fidelity(self, policy: Policy) -> tuple[float, float] | None:
        """(perplexity, KL to base), kept in a file once known; None where the engine cannot tell."""
        references = self._run.plan.references
        if not references:
            return None
        asked = digest_of([list(pair) for pair in references])
        path = self._run.folder / f"fidelity-{policy.digest[:16]}-{asked[:16]}.json"
        found = _read_fidelity(path)
        if found is None:
            found = self._run.workshop.engine().fidelity(policy, references)
            if found is not None:  # else it is tried again: a server can be mended
                partial = path.with_suffix(".partial")
                partial.write_text(json.dumps(found), encoding="utf-8")
                partial.replace(path)
        return found

    def _incidents(
        self, base: Policy, champions: tuple[Answers, ...], candidates: Mapping[str, Policy]
    ) -> tuple[IncidentOutcome, ...]:
        # The base model is the first release.
        releases = {"base": base} | {one.name: self._run.store.releases.policy(one.key) for one in champions}
        return incident_outcomes(
            store=self._run.store,
            asking=self._run.asking,
            engine=self._run.workshop.engine,
            judge=lambda: self._run.workshop.judge(self._run.plan.validate_judge),
            releases=releases | {"incumbent": self._run.incumbent},
            candidates=candidates,
            max_new_tokens=self._run.plan.max_new_tokens,
        )

    def _champions(self, known: set[str]) -> tuple[Answers, ...]:
        """Past releases that answer from this base, oldest first, without the incumbent and the base."""
        champions = []
        for release in reversed(self._run.store.releases.history()):
            if release.policy_digest in known:
                continue
            known.add(release.policy_digest)
            policy = self._run.store.releases.policy(release.policy_digest)
            if policy.base_digest == self._run.incumbent.base_digest:
                champions.append(self._asked(policy, role="champion", name=f"release {release.id}"))
        return tuple(champions)

    def _cycle_number(self) -> int:
        """This cycle's place among the decided ones, from 1: each spends some of the error budget."""
        earlier = [row for row in self._run.store.cycles.recent(10_000) if row.id < self._run.cycle.id]
        return 1 + sum(self._run.store.results.decision(row.id) is not None for row in earlier)


def _read_fidelity(path: Path) -> tuple[float, float] | None:
    """What was measured earlier; None where nothing was written, or nothing that can be read."""
    try:
        perplexity, divergence = json.loads(path.read_text(encoding="utf-8"))
        return float(perplexity), float(divergence)
    except (FileNotFoundError, TypeError, ValueError):
        return None
