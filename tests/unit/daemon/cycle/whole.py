"""A whole cycle with a scripted engine and judge; its candidates are known, so that nothing is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from daemon.cycle.answers import Asking
from daemon.cycle.plan import Plan
from daemon.cycle.questions import Questions
from daemon.cycle.runner import CycleRunner
from daemon.cycle.trainers import Trainers
from daemon.cycle.training_asks import TrainingSampling
from daemon.cycle.trust import Trustee
from daemon.store.rows import CycleRow
from daemon.store.store import Store
from judges.calibration.gate import Bars
from judges.labels import LabelledRow, read_labels
from judges.sentinel import SENTINEL_FILE
from policies.cares import LABELS, Label
from policies.preferences import Preferences, dpo_pairs, kto_examples
from policies.records import Ask, Candidate, Context, Judged, Policy, Prompt, Response
from policies.splits import Splits
from policies.training.recipe import Recipe
from policies.validation.config import load_gates
from tests.fakes.labelling_judges import OpinionJudge, by_keywords
from tests.fakes.scripted_engine import ScriptedEngine

GATES = load_gates(Path(__file__).parents[4] / "configs" / "gates.yaml")
BASE = Policy("b" * 64)
WORKED = Context("worked", (("user", "May I?"), ("assistant", "I cannot help.")))
ROWS = [LabelledRow(f"prompt {n}", f"{n} {label}", label, n % 4) for n in range(40) for label in LABELS]
KNOWN = {(row.prompt, row.answer): row.label for row in [*ROWS, *read_labels(SENTINEL_FILE)]}
RECIPES = {"dpo": Recipe("dpo"), "kto": Recipe("kto")}


def prompts(name: str, count: int) -> tuple[Prompt, ...]:
    return tuple(Prompt(f"{name} {n}", 3 * (n % 2), f"{name} {n}", n % 8, "direct") for n in range(count))


SPLITS = Splits(prompts("train", 60), prompts("selection", 240), prompts("sealed", 60))
PLAN = Plan(
    splits=SPLITS,
    split_seed=1,
    questions=Questions(SPLITS.train, SPLITS.selection, SPLITS.sealed),
    sampling=TrainingSampling(
        worked=WORKED,
        over_cautious=WORKED,
        plain_tokens=8,
        plain_harmful_tokens=8,
        contrast_tokens=8,
        over_cautious_tokens=8,
        temperature=1.0,
        harmless_temperature=0.0,
        top_k=50,
    ),
    gates=GATES.model_copy(update={"statistics": GATES.statistics.model_copy(update={"resamples": 500})}),
    recipes=RECIPES,
    references=(),
    train_judge="train",
    validate_judge="validate",
    second_judge="second",
    max_new_tokens=8,
    max_unscored=0.5,
    least=4,
    max_pairs=None,
    max_examples=None,
    training_timeout_s=1.0,
    threads=None,
    dtype="auto",
    race_looks=4,
    race_error=0.05,
)


class Engine(ScriptedEngine):
    """The base answers everything, dpo refuses what is harmful, kto what is harmless; examples make anybody
    refuse."""

    refuses: dict[str, set[int]] = {}  # noqa: RUF012 - set by each test's fixture

    def generate(self, policy: Policy, asks: Sequence[Ask]) -> Iterator[Response]:
        def text(ask: Ask) -> str:
            refused = ask.sampling.context is not None and ask.sampling.context.name == "worked"
            refused |= ask.prompt.harmful_level in self.refuses.get(policy.digest, set())
            return "I cannot help." if refused else f"Here is how: {ask.prompt.text}."

        self._text = text
        yield from super().generate(policy, asks)


def opinion(prompt: Prompt, response: Response) -> Label | None:
    """Of every tenth train prompt it cannot tell."""
    if prompt.text.startswith("train") and prompt.text.endswith("7"):
        return None
    return KNOWN.get((prompt.text, response.text)) or by_keywords(prompt, response)


class Measuring(Engine):
    """Counts how often it was asked for perplexity and divergence."""

    measured = 0

    def fidelity(self, policy: Policy, references: Sequence[tuple[str, str]]) -> tuple[float, float]:
        self.measured += 1
        return 12.0, 0.1


class Alias(OpinionJudge):
    """A judge under another name."""

    def __init__(self, judge: OpinionJudge, name: str) -> None:
        super().__init__(judge.opinion, name=name)
        self._digest = judge.digest

    @property
    def digest(self) -> str:
        return self._digest


@dataclass
class Workshop:
    """Hands out the test's own engine and judges."""

    made: Engine = field(default_factory=Engine)
    judges: dict[str, OpinionJudge] = field(
        default_factory=lambda: {
            name: OpinionJudge(opinion, name=name) for name in ("train", "validate", "second")
        }
    )
    model_path = Path("model")

    def engine(self) -> Engine:
        return self.made

    def judge(self, name: str) -> OpinionJudge:
        return self.judges[name]

    def put_away(self) -> None:
        pass


@dataclass
class Setting:
    """One installation with a cycle, both of whose candidates an earlier process has trained."""

    store: Store
    cycle: CycleRow
    folder: Path
    now: Callable[[], datetime]
    told: list[dict[str, Any]] = field(default_factory=list)
    trainers: Trainers = field(default_factory=Trainers)

    def runner(self, workshop: Workshop, plan: Plan = PLAN) -> CycleRunner:
        trustee = Trustee(
            store=self.store,
            bars=Bars(train_kappa=0.6, validate_kappa=0.8, max_age_days=30),
            now=self.now,
            labels=ROWS,
            sentinel_alpha=0.001,
            seed=0,
        )
        any_workshop: Any = workshop
        return CycleRunner(
            cycle=self.cycle,
            plan=plan,
            store=self.store,
            workshop=any_workshop,
            trustee=trustee,
            trainers=self.trainers,
            folder=self.folder / "cycle",
            adapters_dir=self.folder / "adapters",
            now=self.now,
            report=self.told.append,
        )

    def judged(self, workshop: Workshop, incumbent: Policy = BASE) -> list[Judged]:
        """The train answers and verdicts, as an earlier process leaves them."""
        asking = Asking(store=self.store, now=self.now, cycle_id=self.cycle.id)

        def judged(asks: Sequence[Ask]) -> list[Judged]:
            answered = asking.answer(workshop.engine, incumbent, asks, purpose="train")
            return asking.judge(lambda: workshop.judge("train"), answered, purpose="train")

        plain = judged(PLAN.sampling.plain(PLAN.questions.train))
        return [*plain, *judged(PLAN.sampling.contrasts(plain, seed=self.cycle.seed))]

    def made_of_both(self, prefer: Callable[..., Preferences], released: Policy) -> Preferences:
        """What a second cycle, of `released`, prefers with the first one's answers replayed."""
        judge = Workshop().judge("train").digest
        before = self.store.answers.judged(1, "train", BASE.digest, judge)
        judged = self.judged(Workshop(), released)
        return prefer(judged, replayed=before, seed=self.cycle.seed, least=PLAN.least)

    def know(self, workshop: Workshop) -> None:
        """Candidates under the keys that the cycle will look for."""
        judged = self.judged(workshop)
        for letter, name, prefer in (("d", "dpo", dpo_pairs), ("k", "kto", kto_examples)):
            folder = self.folder / name
            folder.mkdir()
            policy = Policy(BASE.base_digest, letter * 64, folder)
            made = prefer(judged, seed=self.cycle.seed, least=PLAN.least)
            one = Candidate(name, BASE.digest, made.digest, RECIPES[name].digest, policy)
            self.store.results.save_candidate(self.cycle.id, one, self.now())
            Engine.refuses[policy.digest] = {3} if name == "dpo" else {0}

    def stage(self, name: str) -> dict[str, Any]:
        return next(one.detail or {} for one in self.store.cycles.stages(self.cycle.id) if one.name == name)
