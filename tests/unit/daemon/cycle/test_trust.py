"""No judge is believed that was not measured: it holds with figure and mend, or calibrates where it may."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from daemon.cycle.trust import Trustee, save_report, stored_report
from daemon.store.rows import CycleRow
from daemon.store.store import Store
from judges.calibration.gate import Bars
from judges.calibration.measure import calibrate
from judges.calibration.report import CalibrationReport
from judges.labels import LabelledRow, read_labels
from judges.sentinel import SENTINEL_FILE
from policies.cares import LABELS, Label
from policies.errors import Held
from policies.records import Policy, Prompt, Response
from tests.fakes.labelling_judges import OpinionJudge, knows

DAY = 24 * 3600.0
BARS = Bars(train_kappa=0.6, validate_kappa=0.8, max_age_days=30)
ROWS = [
    LabelledRow(f"prompt {n}", f"answer {n} {label}", label, harmful_level=n % 4)
    for n in range(40)
    for label in LABELS
]
KNOWN = {(row.prompt, row.answer): row.label for row in [*ROWS, *read_labels(SENTINEL_FILE)]}


def good() -> OpinionJudge:
    return OpinionJudge(knows(KNOWN), name="good")


def bad() -> OpinionJudge:
    return OpinionJudge(lambda _prompt, _response: Label.ACCEPT, name="bad")


def middling() -> OpinionJudge:
    """Right on about five rows of six."""

    def opinion(prompt: Prompt, response: Response) -> Label:
        label = KNOWN[prompt.text, response.text]
        wrong = len(prompt.text + response.text) % 6 == 0
        return LABELS[(LABELS.index(label) + 1) % 3] if wrong else label

    return OpinionJudge(opinion, name="middling")


@pytest.fixture
def cycle(store: Store, at: Callable[[float], datetime]) -> CycleRow:
    return store.cycles.create(
        incumbent=Policy("b" * 64), seed=7, config_digest="c" * 64, config={}, at=at(0)
    )


@pytest.fixture
def trustee(store: Store, at: Callable[[float], datetime]) -> Callable[..., Trustee]:
    def make(
        seconds: float = 10.0,
        labels: Sequence[LabelledRow] | None = None,
        shipped: Sequence[CalibrationReport] = (),
    ) -> Trustee:
        return Trustee(
            store=store,
            bars=BARS,
            now=lambda: at(seconds),
            labels=labels,
            sentinel_alpha=0.001,
            seed=0,
            shipped=shipped,
        )

    return make


def report(judge: OpinionJudge, when: datetime) -> CalibrationReport:
    return calibrate(judge, ROWS, seed=0, resamples=200, at=when)


def test_judge_that_was_never_measured_holds_with_the_command_that_mends_it(
    trustee: Callable[..., Trustee], cycle: CycleRow
) -> None:
    with pytest.raises(Held, match=r"never calibrated.*primum judge calibrate good"):
        trustee().require(good(), "train", cycle_id=cycle.id)


def test_judge_without_a_report_is_measured_where_that_is_allowed(
    trustee: Callable[..., Trustee], store: Store, cycle: CycleRow
) -> None:
    judge = good()
    trust = trustee(labels=ROWS).require(judge, "validate", cycle_id=cycle.id)
    assert trust.gate.allowed
    assert trust.report is not None
    assert trust.report.overall.accuracy == 1.0
    assert stored_report(store, judge.digest) == trust.report


def test_valid_report_is_not_measured_again(trustee: Callable[..., Trustee], cycle: CycleRow) -> None:
    trustee(labels=ROWS).require(good(), "train", cycle_id=cycle.id)
    judge = good()
    trustee(labels=ROWS).require(judge, "train", cycle_id=cycle.id)
    assert judge.asked == len(read_labels(SENTINEL_FILE)), "only the sentinel was asked"


def test_bad_judge_holds_with_its_figure_even_after_it_was_measured(
    trustee: Callable[..., Trustee], cycle: CycleRow
) -> None:
    with pytest.raises(Held, match=r"judge bad may not train: its κ is 0\.000.*must reach 0\.600"):
        trustee(labels=ROWS).require(bad(), "train", cycle_id=cycle.id)


def test_judge_may_be_good_enough_to_train_and_not_to_validate(
    trustee: Callable[..., Trustee], cycle: CycleRow
) -> None:
    judge = middling()
    found = trustee(labels=ROWS)
    assert found.require(judge, "train", cycle_id=cycle.id).gate.allowed
    with pytest.raises(Held, match=r"may not validate.*must reach 0\.800"):
        found.require(judge, "validate", cycle_id=cycle.id)


def test_report_expires(
    trustee: Callable[..., Trustee], store: Store, cycle: CycleRow, at: Callable[[float], datetime]
) -> None:
    judge = good()
    save_report(store, report(judge, at(0)))
    assert trustee(29 * DAY).require(judge, "train", cycle_id=cycle.id).gate.allowed
    with pytest.raises(Held, match=r"31\.0 days old, at most 30 are allowed"):
        trustee(31 * DAY).require(judge, "train", cycle_id=cycle.id)
    renewed = trustee(31 * DAY, labels=ROWS).require(judge, "train", cycle_id=cycle.id)
    assert renewed.report is not None
    assert renewed.report.at == at(31 * DAY)


def test_report_of_another_digest_is_none(
    trustee: Callable[..., Trustee], store: Store, cycle: CycleRow, at: Callable[[float], datetime]
) -> None:
    save_report(store, report(OpinionJudge(knows(KNOWN), name="good before its update"), at(0)))
    with pytest.raises(Held, match="never calibrated"):
        trustee().require(good(), "train", cycle_id=cycle.id)


def test_shipped_report_speaks_for_exactly_its_judge_and_ages(
    trustee: Callable[..., Trustee], cycle: CycleRow, at: Callable[[float], datetime]
) -> None:
    shipped = [report(good(), at(0))]
    assert trustee(shipped=shipped).require(good(), "train", cycle_id=cycle.id).report == shipped[0]
    with pytest.raises(Held, match="never calibrated"):
        trustee(shipped=shipped).require(middling(), "train", cycle_id=cycle.id)
    with pytest.raises(Held, match="days old"):
        trustee(40 * DAY, shipped=shipped).require(good(), "train", cycle_id=cycle.id)


def test_stored_report_goes_before_a_shipped_one(
    trustee: Callable[..., Trustee], store: Store, cycle: CycleRow, at: Callable[[float], datetime]
) -> None:
    flattering, judge = report(good(), at(0)), bad()
    save_report(store, report(judge, at(0)))
    with pytest.raises(Held, match="must reach"):
        trustee(shipped=[replace(flattering, judge_digest=judge.digest)]).require(
            judge, "train", cycle_id=cycle.id
        )


def test_looking_asks_the_judge_nothing(trustee: Callable[..., Trustee]) -> None:
    judge = good()
    trust = trustee(labels=ROWS).look(judge, "train")
    assert (trust.report, trust.gate.allowed, judge.asked) == (None, False, 0)


def test_sentinel_is_asked_and_kept_with_its_judge(
    trustee: Callable[..., Trustee], store: Store, cycle: CycleRow
) -> None:
    judge = good()
    trust = trustee(labels=ROWS).require(judge, "train", cycle_id=cycle.id)
    assert trust.sentinel is not None
    assert not trust.sentinel.drifted
    run = store.evidence.sentinel_runs(judge.digest)[0]
    assert (run.cycle_id, run.n, run.agreed, run.drifted) == (cycle.id, 60, 60, False)
    assert store.evidence.spent(cycle_id=cycle.id, judge_digest=judge.digest).calls == judge.asked
    assert [row.name for row in store.answers.judges()] == ["good"], "the metrics look it up by name"


def test_drift_is_seen_though_the_report_is_still_valid(
    trustee: Callable[..., Trustee], store: Store, cycle: CycleRow, at: Callable[[float], datetime]
) -> None:
    judge = good()
    save_report(store, report(judge, at(0)))
    judge.opinion = lambda _prompt, _response: Label.ACCEPT  # the same digest, and another mind
    trust = trustee().require(judge, "train", cycle_id=cycle.id)
    assert trust.sentinel is not None
    assert trust.sentinel.drifted
    assert store.evidence.sentinel_runs(judge.digest)[0].drifted


def test_report_that_cannot_be_read_any_more_counts_as_none(
    store: Store, at: Callable[[float], datetime]
) -> None:
    store.evidence.save_calibration("d" * 64, "l" * 64, {"version": 0}, at(0))
    assert stored_report(store, "d" * 64) is None
