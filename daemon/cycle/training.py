"""From the incumbent's answers to candidates: asked, judged, turned into preferences, trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from daemon.cycle.answers import Asking, Report, unscored_share
from daemon.cycle.plan import Plan
from daemon.cycle.trainers import train_in_process
from daemon.release.artifacts import store_adapter
from daemon.store.rows import CycleRow
from daemon.store.store import Store
from daemon.workshop import Workshop
from policies.digests import seed_from
from policies.errors import Held, NotEnoughData, TrainingError
from policies.preferences import Preferences, dpo_pairs, kto_examples
from policies.records import Ask, Candidate, Judged, Policy, Response
from policies.training.recipe import Recipe, TrainingJob


class Training:
    """The stages sample, judge, prefer and train; each returns what `primum cycle show` tells of it.

    Answers and verdicts are gathered once a run, so that every stage of it works on the same ones.
    """

    def __init__(
        self,
        *,
        cycle: CycleRow,
        plan: Plan,
        store: Store,
        workshop: Workshop,
        asking: Asking,
        incumbent: Policy,
        folder: Path,
        adapters_dir: Path,
        now: Callable[[], datetime],
        report: Report,
    ) -> None:
        self._cycle, self._plan, self._store, self._workshop = cycle, plan, store, workshop
        self._asking, self._incumbent = asking, incumbent
        self._folder, self._adapters_dir = folder, adapters_dir
        self._now, self._report = now, report
        self._made: dict[str, Candidate] = {}

    @property
    def made(self) -> tuple[Candidate, ...]:
        """What `train` made or found in this run, by today's names; nothing that an earlier run left behind.

        A cycle that was held may have trained under another judge, other preferences or another recipe.
        """
        return tuple(self._made.values())

    def sample(self) -> dict[str, Any]:
        """Which prompts are asked under examples hangs on the verdicts on their plain answers."""
        return {"responses": len(self._plain) + len(self._contrasts)}

    def judge(self) -> dict[str, Any]:
        """Held where more answers stay unscored than judging.max_unscored allows."""
        share = unscored_share(self._judged)
        if share > self._plan.max_unscored:
            raise Held(
                f"judge {self._plan.train_judge} left {share:.1%} of {len(self._judged)} answers unscored, "
                f"more than judging.max_unscored = {self._plan.max_unscored:.1%}; "
                "see `primum judge list`, then run again"
            )
        return {"verdicts": len(self._judged), "unscored_share": share}

    def prefer(self) -> dict[str, Any]:
        """NotEnoughData where no method has enough."""
        counts: dict[str, Any] = {}
        for method in sorted({recipe.method for recipe in self._plan.recipes.values()}):
            try:
                preferences = self._prefer(method)
            except NotEnoughData as error:
                counts[method] = str(error)
                continue
            self._write(preferences)
            counts[method] = {"rows": len(preferences), "digest": preferences.digest}
        if not any(isinstance(count, dict) for count in counts.values()):
            raise NotEnoughData("; ".join(str(reason) for reason in counts.values()))
        return counts

    def train(self) -> dict[str, Any]:
        """One method's failure leaves the other's candidate alive, and says so; TrainingError if all fail."""
        self._workshop.put_away()  # the memory is the training process's now
        done: dict[str, Any] = {}
        for name, recipe in self._plan.recipes.items():
            try:
                done[name] = self._train(name, recipe)
            except (TrainingError, NotEnoughData) as error:
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

    # --- answers and verdicts ---------------------------------------------------------------------------

    @cached_property
    def _plain(self) -> Sequence[Judged]:
        sampling = self._plan.sampling
        judged = list(self._judge(self._ask(sampling.plain(self._plan.questions.train))))
        for attempt in range(1, sampling.harmless_tries):
            judged += self._judge(self._ask(sampling.again(judged, attempt=attempt)))
        return judged

    @cached_property
    def _contrasts(self) -> Sequence[tuple[Ask, Response]]:
        return self._ask(self._plan.sampling.contrasts(self._plain, seed=self._cycle.seed))

    @cached_property
    def _judged(self) -> Sequence[Judged]:
        return [*self._plain, *self._judge(self._contrasts)]

    def _ask(self, asks: Sequence[Ask]) -> Sequence[tuple[Ask, Response]]:
        return self._asking.answer(self._workshop.engine, self._incumbent, asks, purpose="train")

    def _judge(self, answered: Sequence[tuple[Ask, Response]]) -> Sequence[Judged]:
        return self._asking.judge(
            lambda: self._workshop.judge(self._plan.train_judge), answered, purpose="train"
        )

    # --- preferences and candidates ---------------------------------------------------------------------

    def _prefer(self, method: str) -> Preferences:
        plan = self._plan
        if method == "dpo":
            return dpo_pairs(self._judged, seed=self._cycle.seed, least=plan.least, limit=plan.max_pairs)
        return kto_examples(self._judged, seed=self._cycle.seed, least=plan.least, limit=plan.max_examples)

    def _write(self, preferences: Preferences) -> Path:
        path = self._folder / f"{preferences.method}.jsonl"
        partial = path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(row) + "\n" for row in preferences.rows()))
        partial.replace(path)
        return path

    def _train(self, name: str, recipe: Recipe) -> dict[str, Any]:
        preferences = self._prefer(recipe.method)
        candidate_key = Candidate(
            name, self._incumbent.digest, preferences.digest, recipe.digest, self._incumbent
        ).key
        known = self._store.results.trained(candidate_key)
        if known is not None and known.policy.adapter_path and known.policy.adapter_path.is_dir():
            self._keep(replace(known, method=name), preferences)
            return {"adapter": known.policy.adapter_digest, "found": True}
        self._report({"event": "progress", "what": f"training {name}", "done": 0, "of": 0})
        card = train_in_process(
            self._job(name, recipe, preferences),
            job_file=self._folder / f"{name}.job.json",
            timeout_s=self._plan.training_timeout_s,
            report=lambda event: self._report({**event, "candidate": name}),
        )
        digest, path = store_adapter(self._folder / name, self._adapters_dir)
        policy = Policy(self._incumbent.base_digest, digest, path)
        candidate = Candidate(name, self._incumbent.digest, preferences.digest, recipe.digest, policy, card)
        self._store.releases.save_policy(policy, self._now())
        self._keep(candidate, preferences)
        return {"adapter": digest, "rows": len(preferences), "seconds": card["seconds"]}

    def _keep(self, candidate: Candidate, preferences: Preferences) -> None:
        """What it was trained on is written first: a candidate without that counts all the cycle asked."""
        used = {row.prompt_digest for row in preferences.kto} | {row.prompt_digest for row in preferences.dpo}
        keys = [one.response.key for one in self._judged if one.prompt.digest in used]
        self._store.answers.add_asks(self._cycle.id, "trained", keys)
        self._store.results.save_candidate(self._cycle.id, candidate, self._now())
        self._made.setdefault(candidate.key, candidate)

    def _job(self, name: str, recipe: Recipe, preferences: Preferences) -> TrainingJob:
        incumbent = self._incumbent
        return TrainingJob(
            recipe=recipe,
            base_path=str(self._workshop.model_path),
            base_digest=incumbent.base_digest,
            parent_adapter=str(incumbent.adapter_path) if incumbent.adapter_path else None,
            parent_digest=incumbent.digest,
            preferences_path=str(self._write(preferences)),
            preferences_digest=preferences.digest,
            output_dir=str(self._folder / name),
            seed=seed_from(self._cycle.seed, "train", name),
            threads=self._plan.threads,
            dtype=self._plan.dtype,
        )
