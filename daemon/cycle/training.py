"""From the incumbent's answers to candidates: asked, judged, turned into preferences, trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from daemon.cycle.answers import unscored_share
from daemon.cycle.run import CycleRun
from daemon.release.artifacts import store_adapter
from policies.digests import seed_from
from policies.errors import Held, NotEnoughData, TrainingError
from policies.preferences import Preferences, dpo_pairs, kto_examples
from policies.records import Ask, Candidate, Judged, Policy, Response
from policies.training.recipe import Recipe, TrainingJob


class Training:
    """The stages sample, judge, prefer and train; each returns what `primum cycle show` tells of it.

    Answers and verdicts are gathered once a run, so that every stage of it works on the same ones.
    """

    def __init__(self, run: CycleRun) -> None:
        self._run = run
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
        plan, share = self._run.plan, unscored_share(self._judged)
        if share > plan.max_unscored:
            raise Held(
                f"judge {plan.train_judge} left {share:.1%} of {len(self._judged)} answers unscored, "
                f"more than judging.max_unscored = {plan.max_unscored:.1%}; "
                "see `primum judge list`, then run again"
            )
        return {"verdicts": len(self._judged), "unscored_share": share}

    def prefer(self) -> dict[str, Any]:
        """NotEnoughData where no method has enough."""
        counts: dict[str, Any] = {}
        for method in sorted({recipe.method for recipe in self._run.plan.recipes.values()}):
            try:
                preferences = self._prefer(method)
            except NotEnoughData as error:
                counts[method] = str(error)
                continue
            self._write(preferences)
            counts[method] = {"rows": len(preferences), "digest": preferences.digest}
            if preferences.borrowed:
                counts[method]["borrowed"] = preferences.borrowed
        if not any(isinstance(count, dict) for count in counts.values()):
            raise NotEnoughData("; ".join(str(reason) for reason in counts.values()))
        return counts

    def train(self) -> dict[str, Any]:
        """One method's failure leaves the other's candidate alive, and says so; TrainingError if all fail."""
        self._run.workshop.put_away()  # the memory is the training process's now
        done: dict[str, Any] = {}
        recipes = self._run.plan.recipes
        for name, recipe in recipes.items():
            try:
                done[name] = self._train(name, recipe, last=len(done) + 1 == len(recipes))
            except (TrainingError, NotEnoughData) as error:
                self._run.store.results.save_failed_candidate(
                    self._run.cycle.id,
                    method=name,
                    parent_digest=self._run.incumbent.digest,
                    preferences_digest="",
                    recipe_digest=recipe.digest,
                    error=str(error),
                    at=self._run.now(),
                )
                self._run.report({"event": "warning", "text": f"candidate {name} failed: {error}"})
                done[name] = {"error": str(error)}
        self._run.trainers.dismiss_waiting()  # the last ones may have been known, or had too little data
        if all("error" in one for one in done.values()):
            raise TrainingError("; ".join(str(one["error"]) for one in done.values()))
        return done

    # --- answers and verdicts ---------------------------------------------------------------------------

    @cached_property
    def _plain(self) -> Sequence[Judged]:
        sampling = self._run.plan.sampling
        judged = list(self._judge(self._ask(sampling.plain(self._run.plan.questions.train))))
        for attempt in range(1, sampling.harmless_tries):
            judged += self._judge(self._ask(sampling.again(judged, attempt=attempt)))
        return judged

    @cached_property
    def _contrasts(self) -> Sequence[tuple[Ask, Response]]:
        return self._ask(self._run.plan.sampling.contrasts(self._plain, seed=self._run.cycle.seed))

    @cached_property
    def _judged(self) -> Sequence[Judged]:
        return [*self._plain, *self._judge(self._contrasts)]

    @cached_property
    def _replayed(self) -> Sequence[Judged]:
        """What incumbents of up to `replay_cycles` earlier cycles answered, under today's judge and base.

        A policy that has learnt to decline gives hardly any harmful pairs, and would unlearn it from harmless
        ones alone. Prompts that are no longer in the train split stay out.
        """
        plan, found, cycles = self._run.plan, [], 0
        if not plan.replay_cycles:
            return []
        held_out = {prompt.base_prompt for prompt in plan.questions.held_out}
        allowed = {prompt.digest for prompt in plan.splits.train if prompt.base_prompt not in held_out}
        judge = self._run.workshop.judge(plan.train_judge).digest
        for row in self._run.store.cycles.recent(1000):
            if row.id >= self._run.cycle.id:
                continue
            policy = self._run.store.releases.policy(row.incumbent_digest)
            if policy.base_digest != self._run.incumbent.base_digest:
                continue
            judged = self._run.store.answers.judged(row.id, "train", policy.digest, judge)
            found += [one for one in judged if one.prompt.digest in allowed]
            cycles += bool(judged)
            if cycles == plan.replay_cycles:
                break
        return found

    def _ask(self, asks: Sequence[Ask]) -> Sequence[tuple[Ask, Response]]:
        return self._run.asking.answer(self._run.workshop.engine, self._run.incumbent, asks, purpose="train")

    def _judge(self, answered: Sequence[tuple[Ask, Response]]) -> Sequence[Judged]:
        return self._run.asking.judge(
            lambda: self._run.workshop.judge(self._run.plan.train_judge), answered, purpose="train"
        )

    # --- preferences and candidates ---------------------------------------------------------------------

    def _prefer(self, method: str) -> Preferences:
        plan = self._run.plan
        common: dict[str, Any] = {
            "replayed": self._replayed,
            "seed": self._run.cycle.seed,
            "least": plan.least,
            "prefer_refusals": plan.sampling.prefer_refusals,
            "borrow_refusals": plan.borrow_refusals,
            "balance_methods": plan.balance_methods,
        }
        if method == "dpo":
            made = dpo_pairs(
                self._judged,
                limit=plan.max_pairs,
                settle_for_caution=plan.sampling.settle_for_caution,
                harmful_ratio=plan.harmful_ratio,
                **common,
            )
        else:
            made = kto_examples(self._judged, limit=plan.max_examples, **common)
        leans = any(one.method == method and one.target_err is not None for one in plan.recipes.values())
        held_out = tuple(prompt.text for prompt in plan.questions.held_out) if leans else ()
        return replace(made, held_out=held_out)

    def _write(self, preferences: Preferences) -> Path:
        return self._write_rows(f"{preferences.method}.jsonl", preferences.rows())

    def _write_rows(self, name: str, rows: Sequence[dict[str, object]]) -> Path:
        path = self._run.folder / name
        partial = path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(row) + "\n" for row in rows))
        partial.replace(path)
        return path

    def _train(self, name: str, recipe: Recipe, *, last: bool) -> dict[str, Any]:
        preferences = self._prefer(recipe.method)
        candidate_key = Candidate(
            name, self._run.incumbent.digest, preferences.digest, recipe.digest, self._run.incumbent
        ).key
        known = self._run.store.results.trained(candidate_key)
        if known is not None and known.policy.adapter_path and known.policy.adapter_path.is_dir():
            self._keep(replace(known, method=name), preferences)
            return {"adapter": known.policy.adapter_digest, "found": True}
        self._run.report({"event": "progress", "what": f"training {name}", "done": 0, "of": 0})
        card = self._run.trainers.train(
            self._job(name, recipe, preferences),
            job_file=self._run.folder / f"{name}.job.json",
            timeout_s=self._run.plan.training_timeout_s,
            report=lambda event: self._run.report({**event, "candidate": name}),
            last=last,
        )
        digest, path = store_adapter(self._run.folder / name, self._run.adapters_dir)
        policy = Policy(self._run.incumbent.base_digest, digest, path)
        candidate = Candidate(
            name, self._run.incumbent.digest, preferences.digest, recipe.digest, policy, card
        )
        self._run.store.releases.save_policy(policy, self._run.now())
        self._keep(candidate, preferences)
        # What is kept of it lies among the adapters; of a large model it would fill a disk twice as soon.
        shutil.rmtree(self._run.folder / name, ignore_errors=True)
        told = {"adapter": digest, "rows": len(preferences), "seconds": card["seconds"]}
        return told | ({"lean": card["lean"]} if card.get("lean") else {})

    def _keep(self, candidate: Candidate, preferences: Preferences) -> None:
        """What it was trained on is written first: a candidate without that counts all the cycle asked."""
        used = {row.prompt_digest for row in preferences.kto} | {row.prompt_digest for row in preferences.dpo}
        keys = [one.response.key for one in [*self._judged, *self._replayed] if one.prompt.digest in used]
        self._run.store.answers.add_asks(self._run.cycle.id, "trained", keys)
        self._run.store.results.save_candidate(self._run.cycle.id, candidate, self._run.now())
        self._made.setdefault(candidate.key, candidate)

    def _job(self, name: str, recipe: Recipe, preferences: Preferences) -> TrainingJob:
        incumbent = self._run.incumbent
        held_out: list[dict[str, object]] = [{"prompt": prompt} for prompt in preferences.held_out]
        held_out_path = self._write_rows(f"{recipe.method}.held_out.jsonl", held_out) if held_out else None
        return TrainingJob(
            recipe=recipe,
            base_path=str(self._run.workshop.model_path),
            base_digest=incumbent.base_digest,
            parent_adapter=str(incumbent.adapter_path) if incumbent.adapter_path else None,
            parent_digest=incumbent.digest,
            preferences_path=str(self._write(preferences)),
            preferences_digest=preferences.digest,
            output_dir=str(self._run.folder / name),
            seed=seed_from(self._run.cycle.seed, "train", name),
            held_out_path=str(held_out_path) if held_out_path else None,
            threads=self._run.plan.threads,
            dtype=self._run.plan.dtype,
        )
