"""The comparison's tests against statsmodels and closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from policies.cares import Label
from policies.errors import NotEnoughData
from policies.records import Prompt
from policies.statistics.paired import sign_flip_test
from policies.validation.compare import adjust, rate_test, refusal_changes, ss_test
from policies.validation.config import Margin
from policies.validation.outcomes import FAIL, INCONCLUSIVE, PASS
from policies.validation.tables import REFUSE, Pair, align
from tests.unit.policies.validation.experiments import CONFIG, always, judged, prompts, strong, weak

ASKED = prompts(200)
MARGIN = Margin(standard=0.15, few=0.15, few_prompts=0)


def pair(before: object = weak, after: object = strong) -> Pair:
    return align(judged(ASKED, before), judged(ASKED, after))  # type: ignore[arg-type]


def test_p_value_is_the_larger_of_two_tests_and_the_gain_is_the_mean() -> None:
    both = pair()
    test = ss_test(both, CONFIG, alpha=0.025, family=2, seed=1)
    before, after = both.scores
    flips = sign_flip_test(before, after, both.slices.clusters, alternative="greater").p_value
    assert test.p_sign_flips == flips
    assert test.p_value == max(test.p_bootstrap, flips)
    assert test.interval.estimate == pytest.approx((after - before).mean())
    assert test.outcome == PASS


def test_the_bootstrap_draws_as_often_as_a_small_alpha_needs() -> None:
    test = ss_test(pair(), CONFIG, alpha=1e-4, family=2, seed=1)
    assert test.p_bootstrap < 1e-4 / 2


def test_holm_over_candidates_agrees_with_statsmodels() -> None:
    test = ss_test(pair(), CONFIG, alpha=0.025, family=3, seed=1)
    p_values = [0.012, 0.2, 0.011]
    tests = {str(at): replace(test, p_value=p) for at, p in enumerate(p_values)}
    found = adjust(tests, family=3)
    expected = multipletests(p_values, method="holm")[1]
    assert [one.p_adjusted for one in found.values() if one] == pytest.approx(list(expected))


def test_raced_out_and_untestable_candidates_stay_in_the_family() -> None:
    test = ss_test(pair(), CONFIG, alpha=0.025, family=3, seed=1)
    found = adjust({"a": replace(test, p_value=0.01), "b": None}, family=3)
    assert found["a"] is not None
    assert found["a"].p_adjusted == pytest.approx(0.03)
    assert found["b"] is None


def test_a_copy_is_ruled_out_and_few_prompts_leave_it_open() -> None:
    assert ss_test(pair(weak, weak), CONFIG, alpha=0.025, family=1, seed=1).outcome == FAIL
    few = prompts(20)
    both = align(judged(few, weak), judged(few, weak))
    open_case = ss_test(both, CONFIG, alpha=0.025, family=1, seed=1)
    assert open_case.outcome == INCONCLUSIVE
    assert open_case.needed is not None
    assert open_case.needed.more_rows > 0


def test_prompts_needed_follow_the_normal_approximation() -> None:
    test = ss_test(pair(), CONFIG, alpha=0.05, family=1, seed=1)
    needed = test.needed
    assert needed is not None
    expected = ((1.645 + 0.842) * test.precision.deviation / test.effect) ** 2
    assert needed.clusters == pytest.approx(expected, rel=0.02)
    assert test.detectable == pytest.approx((1.645 + 0.842) * test.precision.standard_error, rel=0.03)


def test_rate_test_has_three_ends() -> None:
    options = {"alpha": 0.05, "resamples": 300, "seed": 1}
    same = rate_test(pair(weak, weak), (REFUSE,), MARGIN, **options)  # type: ignore[arg-type]
    refusing = rate_test(pair(weak, always(Label.REFUSE)), (REFUSE,), MARGIN, **options)  # type: ignore[arg-type]
    some = pair(
        weak,
        lambda prompt, luck: Label.REFUSE if prompt.harmful_level == 0 and luck < 0.15 else Label.ACCEPT,
    )
    between = rate_test(some, (REFUSE,), MARGIN, **options)  # type: ignore[arg-type]
    assert (same.outcome, refusing.outcome, between.outcome) == (PASS, FAIL, INCONCLUSIVE)
    assert refusing.lower > MARGIN.standard
    assert same.lower == -math.inf


def with_unscored(count: int, *, refused: int = 0) -> Pair:
    """`weak` before; after, of the first harmless prompts `count` without a verdict, and then `refused`."""
    harmless = [prompt.text for prompt in ASKED if prompt.harmful_level == 0]
    hidden, refusals = set(harmless[:count]), set(harmless[count : count + refused])

    def after(prompt: Prompt, luck: float) -> Label | None:
        if prompt.text in refusals:
            return Label.REFUSE
        return None if prompt.text in hidden else weak(prompt, luck)

    return align(judged(ASKED, weak), judged(ASKED, after))


def test_what_is_not_scored_counts_as_refused_before_a_rate_passes() -> None:
    options = {"alpha": 0.05, "resamples": 300, "seed": 1}
    margin = Margin(standard=0.10, few=0.10, few_prompts=0)
    hidden = rate_test(with_unscored(12), (REFUSE,), margin, **options)  # type: ignore[arg-type]
    assert (hidden.outcome, hidden.hangs_on_unscored, hidden.unscored) == (INCONCLUSIVE, True, 12)
    assert hidden.worst is not None
    assert hidden.worst.after == pytest.approx(12 / 90)
    refused = rate_test(with_unscored(0, refused=12), (REFUSE,), margin, **options)  # type: ignore[arg-type]
    assert hidden.worst.upper == refused.upper
    few = rate_test(with_unscored(2), (REFUSE,), margin, **options)  # type: ignore[arg-type]
    assert (few.outcome, few.hangs_on_unscored) == (PASS, False)


def test_an_unscored_answer_loosens_no_margin() -> None:
    margin = Margin(standard=0.05, few=0.15, few_prompts=90)  # as many harmless prompts as there are
    for count in (0, 1, 5):
        test = rate_test(
            with_unscored(count, refused=4), (REFUSE,), margin, alpha=0.05, resamples=300, seed=1
        )
        assert (test.test.margin, test.outcome) == (0.05, INCONCLUSIVE)


def test_rates_need_harmless_prompts() -> None:
    harmful = pair().harmful
    with pytest.raises(NotEnoughData, match="harmless"):
        rate_test(harmful, (REFUSE,), MARGIN, alpha=0.05, resamples=100, seed=1)


def test_refusal_changes_are_reported_by_harm_class() -> None:
    changes = refusal_changes(pair())
    assert changes["refusal, harmful"]["exact"].p_value < 1e-6
    assert changes["refusal, harmless"]["exact"].p_value == 1


def test_precision_needs_no_randomness() -> None:
    both = pair()
    first, second = (ss_test(both, CONFIG, alpha=0.025, family=1, seed=seed) for seed in (1, 2))
    assert np.isclose(first.detectable, second.detectable)
