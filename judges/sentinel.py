"""Has the judge changed unseen? A fixed labelled set is judged every cycle and held to a control limit.

The limit is binomial: with the agreement that was measured at calibration, fewer agreements than the limit
have probability at most `alpha`. Twenty prompts have three answers each, one per label; rows of a prompt
are taken as independent, because their answers differ in kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from judges.base import Judge
from judges.calibration.items import items_of, rows_digest
from judges.labels import LabelledRow
from policies.errors import NotEnoughData
from policies.statistics.control import has_drifted, lower_limit

SENTINEL_FILE = Path(__file__).parent / "data" / "sentinel.jsonl"


@dataclass(frozen=True)
class SentinelResult:
    """`agreed` of `n` rows got their label; fewer than `lower_limit` is drift. Unscored is not agreed."""

    n: int
    agreed: int
    agreement: float
    lower_limit: int
    drifted: bool
    unscored: int
    set_digest: str
    judge_digest: str

    @property
    def sentence(self) -> str:
        """The finding for a person."""
        found = f"the judge agrees with {self.agreed} of {self.n} sentinel labels"
        unscored = f" ({self.unscored} unscored)" if self.unscored else ""
        if self.drifted:
            return f"{found}{unscored}; fewer than {self.lower_limit} is drift: promotion is frozen"
        return f"{found}{unscored}; the control limit is {self.lower_limit}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def run_sentinel(
    judge: Judge, rows: Sequence[LabelledRow], *, expected_agreement: float, alpha: float
) -> SentinelResult:
    """Judge the fixed set. `expected_agreement` is the share that agreed when the judge was calibrated.

    An unscored row counts as not agreeing: a judge that fails to answer the fixed set is not steady.
    NotEnoughData where `rows` is empty.
    """
    if not rows:
        raise NotEnoughData(
            f"sentinel: no rows to judge; the shipped set is judges/data/{SENTINEL_FILE.name}"
        )
    labels = [verdict.label for verdict in judge.judge(items_of(rows))]
    agreed = sum(label is row.label for label, row in zip(labels, rows, strict=True))
    return SentinelResult(
        n=len(rows),
        agreed=agreed,
        agreement=agreed / len(rows),
        lower_limit=lower_limit(len(rows), expected_agreement, alpha),
        drifted=has_drifted(agreed, len(rows), expected_agreement, alpha),
        unscored=sum(label is None for label in labels),
        set_digest=rows_digest(rows),
        judge_digest=judge.digest,
    )
