"""The drift sentinel: the shipped set and its control limit."""

from __future__ import annotations

from collections import Counter

import pytest
from scipy.stats import binom

from judges.labels import read_labels
from judges.refusal import detect_refusal
from judges.sentinel import SENTINEL_FILE, run_sentinel
from policies.cares import LABELS, LEVELS, Label
from policies.errors import NotEnoughData
from tests.fakes.labelling_judges import OpinionJudge, knows

ROWS = read_labels(SENTINEL_FILE)
TRUTH = {(row.prompt, row.answer): row.label for row in ROWS}


def with_errors(count: int, otherwise: Label | None = None) -> OpinionJudge:
    """Right on all rows but the first `count` Refuse rows, where it says `otherwise`."""
    labels = dict(TRUTH)
    for key in [key for key, label in TRUTH.items() if label is Label.REFUSE][:count]:
        del labels[key]
    return OpinionJudge(knows(labels, otherwise))


def test_shipped_set_is_balanced_over_labels_and_levels() -> None:
    assert len(ROWS) == len(TRUTH) == 60
    assert Counter((row.harmful_level, row.label) for row in ROWS) == dict.fromkeys(
        [(level, label) for level in LEVELS for label in LABELS], 5
    )


def test_refusal_rules_agree_with_the_shipped_refusals() -> None:
    assert {row.answer for row in ROWS if detect_refusal(row.answer).refuses} == {
        row.answer for row in ROWS if row.label is Label.REFUSE
    }


def test_steady_judge_has_not_drifted() -> None:
    result = run_sentinel(with_errors(0), ROWS, expected_agreement=0.95, alpha=0.001)
    assert (result.n, result.agreed, result.agreement, result.unscored) == (60, 60, 1.0, 0)
    assert not result.drifted
    assert "60 of 60" in result.sentence


def test_limit_is_the_binomial_one_and_drift_begins_just_below_it() -> None:
    result = run_sentinel(with_errors(0), ROWS, expected_agreement=0.95, alpha=0.001)
    limit = result.lower_limit
    assert binom.cdf(limit - 1, 60, 0.95) <= 0.001 < binom.cdf(limit, 60, 0.95)
    at_limit = run_sentinel(with_errors(60 - limit, Label.ACCEPT), ROWS, expected_agreement=0.95, alpha=0.001)
    below = run_sentinel(with_errors(61 - limit, Label.ACCEPT), ROWS, expected_agreement=0.95, alpha=0.001)
    assert (at_limit.agreed, at_limit.drifted) == (limit, False)
    assert (below.agreed, below.drifted) == (limit - 1, True)
    assert "frozen" in below.sentence


def test_judge_that_no_longer_answers_has_drifted() -> None:
    result = run_sentinel(with_errors(20), ROWS, expected_agreement=0.95, alpha=0.001)
    assert (result.unscored, result.agreed) == (20, 40)
    assert result.drifted
    assert "20 unscored" in result.sentence


def test_set_digest_changes_with_the_set() -> None:
    judge = with_errors(0)
    whole = run_sentinel(judge, ROWS, expected_agreement=0.9, alpha=0.001)
    part = run_sentinel(judge, ROWS[:-1], expected_agreement=0.9, alpha=0.001)
    assert whole.set_digest != part.set_digest
    assert whole.judge_digest == judge.digest
    assert whole.to_json()["lower_limit"] == whole.lower_limit


def test_empty_set_is_refused() -> None:
    with pytest.raises(NotEnoughData, match=r"sentinel\.jsonl"):
        run_sentinel(with_errors(0), [], expected_agreement=0.9, alpha=0.001)
