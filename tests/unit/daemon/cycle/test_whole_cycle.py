"""A whole cycle with a scripted engine and judge; its candidates are known, so that nothing is trained."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from daemon.commands.cycle import show_cycle
from daemon.commands.label import draw
from daemon.cycle.answers import Asking
from daemon.cycle.plan import Plan
from daemon.cycle.questions import Questions
from daemon.cycle.runner import CycleRunner
from daemon.cycle.training_asks import TrainingSampling
from daemon.cycle.trust import Trustee
from daemon.cycle.validation import judge_digests
from daemon.paths import Paths
from daemon.reading import compared
from daemon.stages import COMPARED, STAGES
from daemon.store.rows import CycleRow, CycleState, HumanLabel
from daemon.store.store import Store
from daemon.wiring import Place
from judges.calibration.gate import Bars
from judges.labels import LabelledRow, read_labels
from judges.panel import Member, PanelJudge
from judges.sentinel import SENTINEL_FILE
from policies.cares import LABELS, Label
from policies.errors import EngineError
from policies.preferences import dpo_pairs, kto_examples
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


@pytest.fixture
def setting(
    store: Store, at: Callable[[float], datetime], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Setting:
    monkeypatch.setattr(Engine, "refuses", {})
    store.releases.record_initial(BASE, at(0))
    config = {"prompts": {"split_seed": 1}}
    cycle = store.cycles.create(incumbent=BASE, seed=7, config_digest="c" * 64, config=config, at=at(0))
    (tmp_path / "cycle").mkdir()
    found = Setting(store, cycle, tmp_path, lambda: at(1))
    found.know(Workshop())
    return found


def test_cycle_runs_to_its_decision_and_asks_nothing_twice(setting: Setting) -> None:
    workshop = Workshop()
    row = setting.runner(workshop).run()
    assert row.state is CycleState.NO_WINNER, row.message
    assert set(workshop.made.asked.values()) == {1}
    assert tuple(event["stage"] for event in setting.told if event["event"] == "stage") == STAGES
    assert {one.name: one.status for one in setting.store.cycles.stages(row.id)} == dict.fromkeys(
        STAGES, "done"
    )
    # The loser of the race is told in the stage, in the decision, and has no figures.
    assert setting.stage("validate")["dpo"] == {"n": 240}
    assert setting.stage("validate")["kto"]["n"] == 60
    decision = setting.store.results.decision(row.id)
    assert decision is not None
    assert "stopped by the race before the end: kto" in decision.body["warnings"]
    assert any("kto was stopped after 60 of 240" in warning for warning in decision.body["warnings"])
    assert list(decision.body["names"].values()) == ["dpo"]
    assert setting.stage("decide")["oscillations"] is None, "base and candidate are no history"


def test_unscored_answers_are_asked_again_once_a_run(setting: Setting) -> None:
    unscored = sum(one.verdict.label is None for one in setting.judged(Workshop()))
    assert unscored > 0
    workshop = Workshop()
    runner = setting.runner(workshop)
    for stage in ("sample", "judge", "prefer", "train"):
        runner._run_stage(stage, runner._stages[stage])
    assert workshop.judges["train"].asked == unscored


def test_another_run_asks_neither_judge_anew(setting: Setting) -> None:
    first, second = Workshop(), Workshop()
    for workshop in (first, second):
        runner = setting.runner(workshop)
        for stage in ("sample", "judge", "prefer", "train", "validate"):
            runner._run_stage(stage, runner._stages[stage])
    assert first.judges["second"].asked > 0
    assert second.judges["second"].asked == 0
    assert second.made.asked.total() == 0


def test_validation_that_was_killed_goes_on_and_stops_the_same(setting: Setting) -> None:
    before = Workshop(made=Engine(dies_after=300, error=EngineError("gone")))
    assert setting.runner(before).run().state is CycleState.FAILED
    setting.store.cycles.advance(setting.cycle.id, "failed", "running", "validate", setting.now())
    after = Workshop()
    assert setting.runner(after).run().state is CycleState.NO_WINNER
    both: Counter[str] = before.made.asked + after.made.asked
    assert set(both.values()) == {1}
    assert setting.stage("validate")["kto"]["n"] == 60
    looks = json.loads((setting.folder / "cycle" / "race.json").read_text())["looks"]
    assert [len(look) for look in looks] == [1]


def test_race_can_be_switched_off(setting: Setting) -> None:
    setting.runner(Workshop(), replace(PLAN, race_looks=1)).run()
    assert setting.stage("validate")["kto"] == {"n": 240}


def test_candidate_of_an_earlier_configuration_does_not_enter(setting: Setting) -> None:
    """It was trained before a hold: by other preferences, by another recipe, or by one since removed."""
    policy = Policy(BASE.base_digest, "s" * 64, setting.folder / "dpo")
    stale = Candidate("dpo", BASE.digest, "p" * 64, RECIPES["dpo"].digest, policy)
    setting.store.results.save_candidate(setting.cycle.id, stale, setting.now())
    setting.runner(Workshop(), replace(PLAN, recipes={"better": RECIPES["dpo"]})).run()
    decision = setting.store.results.decision(setting.cycle.id)
    assert decision is not None
    assert list(decision.body["names"].values()) == ["better"]
    assert set(setting.stage("validate")) == {"incumbent", "better", COMPARED}


def test_prompts_of_the_preferences_are_written_down_as_trained_on(setting: Setting) -> None:
    setting.store.answers.save_prompts(prompts("abandoned", 1))
    before = setting.store.answers.trained_on()
    runner = setting.runner(Workshop())
    runner._run_stage("train", runner._stages["train"])
    written = setting.store.answers.trained_on()
    assert len(before) == 60
    # Of every tenth the training judge could not tell.
    assert {one.text for _, one in before} - {one.text for _, one in written} == {
        f"train {n}" for n in range(7, 60, 10)
    }


@pytest.mark.parametrize(
    ("name", "is_really", "heard"),
    [("second", "train", False), ("second", "validate", False), ("second", "somebody else", True)],
)
def test_second_judge_is_known_by_what_it_is(
    setting: Setting, name: str, is_really: str, heard: bool
) -> None:
    workshop = Workshop()
    workshop.judges[name] = Alias(workshop.judges.get(is_really, workshop.judges[name]), name)
    setting.runner(workshop, replace(PLAN, race_looks=1)).run()
    decision = setting.store.results.decision(setting.cycle.id)
    assert decision is not None
    told = [gate["sentence"] for gates in decision.body["gates"].values() for gate in gates]
    assert any("no independent second signal" in sentence for sentence in told) is not heard


def test_panel_is_known_by_its_members() -> None:
    one, two, three = (OpinionJudge(opinion, name=name) for name in ("one", "two", "three"))
    inner = PanelJudge("inner", [Member(one), Member(two)])
    outer = PanelJudge("outer", [Member(inner), Member(three)])
    assert judge_digests(outer) == {judge.digest for judge in (one, two, three, inner, outer)}
    assert judge_digests(one) == {one.digest}


def measured(setting: Setting, plan: Plan) -> int:
    """How often one run asks for a policy's perplexity and divergence."""
    engine = Measuring()
    runner = setting.runner(Workshop(made=engine), plan)
    for stage in ("train", "validate"):
        runner._run_stage(stage, runner._stages[stage])
    return engine.measured


@pytest.mark.parametrize("left", [None, "null", "[1.5", "[1.5]", '{"a": 1}', "\x00"])
def test_fidelity_is_measured_once_and_again_where_its_file_cannot_be_read(
    setting: Setting, left: str | None
) -> None:
    plan = replace(PLAN, references=(("question", "answer"),))
    assert measured(setting, plan) == 2  # the base and the candidate that came to the end
    file, _ = sorted((setting.folder / "cycle").glob("fidelity-*.json"))
    if left is None:
        file.unlink()
    else:
        file.write_text(left)
    assert measured(setting, plan) == 1
    assert measured(setting, plan) == 0


def test_fidelity_on_other_references_is_another_figure(setting: Setting) -> None:
    for number in range(2):
        assert measured(setting, replace(PLAN, references=((f"question {number}", "answer"),))) == 2


def test_prompts_trained_on_under_another_seed_hold_before_anything_is_asked(setting: Setting) -> None:
    moved = Splits(SPLITS.selection, SPLITS.train, SPLITS.sealed)
    workshop = Workshop()
    row = setting.runner(workshop, replace(PLAN, splits=moved, split_seed=2)).run()
    assert row.state is CycleState.HELD
    assert "set it back to 1" in (row.message or "")
    assert workshop.made.asked.total() == 0


def test_history_of_three_releases_is_searched_for_oscillations(
    setting: Setting, at: Callable[[float], datetime], capsys: pytest.CaptureFixture[str]
) -> None:
    """The incumbent refuses what is harmful; a candidate that answers it again flips it back."""
    released = Policy(BASE.base_digest, "r" * 64, setting.folder / "dpo")
    setting.store.cycles.advance(setting.cycle.id, "running", "failed", "train", at(2))
    Engine.refuses[released.digest] = {3}
    setting.cycle = setting.store.cycles.create(
        incumbent=released, seed=7, config_digest="c" * 64, config={}, at=at(3)
    )
    made = kto_examples(setting.judged(Workshop(), released), seed=setting.cycle.seed, least=PLAN.least)
    policy = Policy(BASE.base_digest, "a" * 64, setting.folder / "kto")
    candidate = Candidate("again", released.digest, made.digest, RECIPES["kto"].digest, policy)
    setting.store.results.save_candidate(setting.cycle.id, candidate, at(4))
    runner = setting.runner(Workshop(), replace(PLAN, recipes={"again": RECIPES["kto"]}))
    for stage in ("train", "validate", "decide"):
        runner._run_stage(stage, runner._stages[stage])
    assert setting.stage("decide")["oscillations"] == {"again": 120}
    assert (setting.folder / "cycle" / "report" / "oscillations.md").is_file()
    any_settings: Any = None
    place = Place(any_settings, None, Paths.under(setting.folder / "data"), setting.store)
    show_cycle(place, setting.store.cycles.get(setting.cycle.id), "")
    assert "Prompts that flip back and forth across releases: again 120" in capsys.readouterr().out


@pytest.fixture
def later(setting: Setting, at: Callable[[float], datetime]) -> Setting:
    """A second cycle, of a released policy that has learnt to decline what is harmful."""
    released = Policy(BASE.base_digest, "r" * 64, setting.folder / "dpo")
    setting.store.cycles.advance(setting.cycle.id, "running", "failed", "train", at(2))
    Engine.refuses[released.digest] = {3}
    setting.cycle = setting.store.cycles.create(
        incumbent=released, seed=8, config_digest="c" * 64, config={}, at=at(3)
    )
    return setting


def preferred(setting: Setting, plan: Plan) -> dict[str, Any]:
    """What the stage `prefer` tells, and the prompts of its DPO pairs with what is chosen and rejected."""
    runner = setting.runner(Workshop(), plan)
    runner._run_stage("prefer", runner._stages["prefer"])
    told = setting.stage("prefer")["dpo"]
    path = setting.folder / "cycle" / "dpo.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {"told": told, "pairs": {row["prompt"]: (row["chosen"], row["rejected"]) for row in rows}}


def test_policy_that_declines_learns_from_what_its_parent_answered(later: Setting) -> None:
    alone = preferred(later, PLAN)
    assert "0 pairs on harmful prompts" in alone["told"]
    pairs = preferred(later, replace(PLAN, replay_cycles=1))["pairs"]
    harmful = [prompt.text for prompt in SPLITS.train if prompt.harmful_level and prompt.text in pairs]
    assert len(harmful) > PLAN.least
    assert all(pairs[text] == ("I cannot help.", f"Here is how: {text}.") for text in harmful)


def test_replay_leaves_out_what_is_no_longer_trained_on_and_other_judges_verdicts(later: Setting) -> None:
    plan = replace(PLAN, replay_cycles=1)
    everything = preferred(later, plan)["pairs"]
    gone = {prompt.digest for prompt in SPLITS.train[:20]}
    kept = tuple(prompt for prompt in SPLITS.train if prompt.digest not in gone)
    fewer = preferred(later, replace(plan, splits=replace(SPLITS, train=kept)))["pairs"]
    missing = everything.keys() - fewer.keys()
    assert missing
    assert missing <= {prompt.text for prompt in SPLITS.train[:20]}
    other = replace(plan, train_judge="second")
    assert "0 pairs on harmful prompts" in preferred(later, other)["told"]


def test_what_was_replayed_is_written_down_as_trained_on(later: Setting) -> None:
    plan = replace(PLAN, replay_cycles=1, recipes={"dpo": RECIPES["dpo"]})
    judged = later.judged(Workshop(), Policy(BASE.base_digest, "r" * 64, later.folder / "dpo"))
    before = later.store.answers.judged(1, "train", BASE.digest, Workshop().judge("train").digest)
    made = dpo_pairs(judged, replayed=before, seed=later.cycle.seed, least=plan.least)
    policy = Policy(BASE.base_digest, "a" * 64, later.folder / "dpo")
    one = Candidate("dpo", later.cycle.incumbent_digest, made.digest, RECIPES["dpo"].digest, policy)
    later.store.results.save_candidate(later.cycle.id, one, later.now())
    runner = later.runner(Workshop(), plan)
    runner._run_stage("train", runner._stages["train"])
    written = {prompt.text for cycle, prompt in later.store.answers.trained_on() if cycle == later.cycle.id}
    assert written == {row.prompt for row in made.dpo}


def test_decision_waits_for_as_many_labels_as_were_asked_for(setting: Setting) -> None:
    plan = replace(PLAN, labelled_prompts=5, race_looks=1)
    workshop = Workshop()
    held = setting.runner(workshop, plan).run()
    assert held.state is CycleState.HELD
    assert held.message is not None
    assert "0 of 5 prompts for dpo, 0 of 5 prompts for kto" in held.message
    assert f"primum label sample {held.id} --candidate dpo --prompts 5" in held.message
    assert setting.store.results.decision(held.id) is None

    for name in ("dpo", "kto"):
        pair = compared(setting.store, held, name)
        rows, _ = draw(pair, 5, set(), seed=held.seed)
        texts = {(row["prompt"], row["answer"]) for row in rows}
        setting.store.evidence.save_labels(
            HumanLabel(
                one.prompt.digest, one.response.answer_digest, *text, Label.CAUTION, "me", setting.now()
            )
            for one in (*pair.before, *pair.after)
            if (text := (one.prompt.text, one.response.text)) in texts
        )
    cycles = setting.store.cycles
    cycles.advance(held.id, CycleState.HELD, CycleState.RUNNING, held.stage, setting.now())
    again = Workshop()
    row = setting.runner(again, plan).run()
    assert row.state in (CycleState.NO_WINNER, CycleState.WAITING), row.message
    assert not again.made.asked, "no answer is asked for again"
    decision = setting.store.results.decision(row.id)
    assert decision is not None


def test_waiting_for_labels_never_asks_for_more_prompts_than_there_are(setting: Setting) -> None:
    plan = replace(PLAN, labelled_prompts=10_000, race_looks=1)
    held = setting.runner(Workshop(), plan).run()
    assert held.message is not None
    assert "0 of 240 prompts for dpo" in held.message
