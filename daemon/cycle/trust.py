"""May the configured judges be believed today? Calibration, its gate, and the drift sentinel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from daemon.cycle.answers import Metered
from daemon.store.store import Store
from judges.base import Judge
from judges.calibration.gate import Bars, GateResult, gate
from judges.calibration.items import rows_digest
from judges.calibration.measure import calibrate
from judges.calibration.report import CalibrationReport
from judges.labels import LabelledRow, read_labels
from judges.sentinel import SENTINEL_FILE, SentinelResult, run_sentinel
from policies.errors import DataError, Held


@dataclass(frozen=True)
class Trust:
    """What is known of one judge: its report, what the gate says, how the sentinel went."""

    judge: str
    digest: str
    report: CalibrationReport | None
    gate: GateResult
    sentinel: SentinelResult | None = None


class Trustee:
    """Looks judges up in the store, calibrates them where that is allowed, and holds a cycle otherwise.

    `shipped` are reports that came with an adapter: they speak for exactly that judge, whose digest they
    carry, and age like any other.
    """

    def __init__(
        self,
        *,
        store: Store,
        bars: Bars,
        now: Callable[[], datetime],
        labels: Sequence[LabelledRow] | None,
        sentinel_alpha: float,
        seed: int,
        shipped: Iterable[CalibrationReport] = (),
    ) -> None:
        self._shipped = {report.judge_digest: report for report in shipped}
        self._store, self._bars, self._now = store, bars, now
        self._labels, self._alpha, self._seed = labels, sentinel_alpha, seed

    def look(self, judge: Judge, use: Literal["train", "validate"]) -> Trust:
        """The judge's last calibration against the bar of `use`; nothing is judged."""
        report = stored_report(self._store, judge.digest)
        result = gate(
            report,
            judge_digest=judge.digest,
            use=use,
            bars=self._bars,
            now=self._now(),
            judge_name=judge.name,
        )
        return Trust(judge.name, judge.digest, report, result)

    def require(self, judge: Judge, use: Literal["train", "validate"], *, cycle_id: int) -> Trust:
        """As `look`, after calibrating a judge that has no valid report, and with the sentinel asked.

        Held, with figure and mend, where the judge may not do this.
        """
        trust = self.look(judge, use)
        if trust.report is None and (shipped := self._shipped.get(judge.digest)) is not None:
            save_report(self._store, shipped)
            trust = self.look(judge, use)
        stale = trust.report is None or not trust.gate.allowed
        if stale and self._labels:
            save_report(self._store, self.calibrate(self._metered(judge, cycle_id), self._labels))
            trust = self.look(judge, use)
        if not trust.gate.allowed or trust.report is None:
            raise Held(f"{trust.gate.sentence}; to mend it: {trust.gate.mend}")
        return Trust(
            trust.judge, trust.digest, trust.report, trust.gate, self._sentinel(judge, trust.report, cycle_id)
        )

    def calibrate(self, judge: Judge, rows: Sequence[LabelledRow]) -> CalibrationReport:
        return calibrate(judge, rows, seed=self._seed, resamples=2000, at=self._now())

    def _metered(self, judge: Judge, cycle_id: int) -> Judge:
        return Metered(judge, store=self._store, now=self._now, cycle_id=cycle_id)

    def _sentinel(self, judge: Judge, report: CalibrationReport, cycle_id: int) -> SentinelResult | None:
        if report.overall.accuracy is None:
            return None
        rows = read_labels(SENTINEL_FILE)
        # The metrics look judges up by name.
        self._store.answers.save_judge(judge.digest, judge.name, type(judge).__name__, {}, self._now())
        metered = self._metered(judge, cycle_id)
        result = run_sentinel(metered, rows, expected_agreement=report.overall.accuracy, alpha=self._alpha)
        self._store.evidence.save_sentinel_run(
            cycle_id=cycle_id,
            judge_digest=judge.digest,
            set_digest=rows_digest(rows),
            n=result.n,
            agreed=result.agreed,
            lower_limit=float(result.lower_limit),
            drifted=result.drifted,
            at=self._now(),
        )
        return result


def stored_report(store: Store, judge_digest: str) -> CalibrationReport | None:
    """The judge's last stored calibration; None where there is none or it cannot be read any more."""
    row = store.evidence.calibration(judge_digest)
    if row is None:
        return None
    try:
        return CalibrationReport.from_json(row.body)
    except DataError:
        return None


def save_report(store: Store, report: CalibrationReport) -> None:
    store.evidence.save_calibration(report.judge_digest, report.labels_digest, report.to_json(), report.at)
