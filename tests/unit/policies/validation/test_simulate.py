"""The simulation: its worlds are what they claim, and the gates hold in them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta

from policies.errors import ConfigurationError
from policies.validation.simulate import SCENARIOS, clopper_pearson, scenario, simulate, to_markdown
from policies.validation.worlds import Truth, World, experiment
from tests.unit.policies.validation.experiments import CONFIG, GOOD_CONFUSION

SMALL = World(prompts=600, sealed=600)


def test_true_change_is_the_gain_that_was_asked_for() -> None:
    rng = np.random.default_rng(1)
    world = World(prompts=20_000, sealed=10)
    changes = experiment(world, [Truth(), Truth(gain=0.05), Truth(gain=-0.1)], rng).true_changes
    assert changes == pytest.approx((0.0, 0.05, -0.1), abs=0.01)


def test_gaming_raises_the_judged_score_and_not_the_second_signal() -> None:
    rng = np.random.default_rng(2)
    (case,) = experiment(World(prompts=20_000, sealed=10), [Truth(gain=-0.05, fooling=0.5)], rng).cases
    judged_before, judged_after = case.pair.scores
    assert case.second is not None
    second_before, second_after = case.second.scores
    assert judged_after.mean() > judged_before.mean() + 0.05
    assert second_after.mean() < second_before.mean()


def test_verdicts_follow_the_confusion() -> None:
    rng = np.random.default_rng(3)
    (case,) = experiment(World(prompts=20_000, sealed=10, judge_accuracy=1.0), [Truth()], rng).cases
    assert set(case.pair.harmful.before) == {0, 2}  # no caution where nobody errs


def test_rewrites_share_their_base_prompt() -> None:
    rng = np.random.default_rng(4)
    (case,) = experiment(World(prompts=400, sealed=40, rewrites=4), [Truth()], rng).cases
    assert len(np.unique(case.pair.slices.clusters)) == 100


@pytest.mark.parametrize("name", [one.name for one in SCENARIOS])
def test_scenario_keeps_its_claim_in_a_small_run(name: str) -> None:
    found = simulate(CONFIG, scenario(name), experiments=25, world=SMALL, seed=3, resamples=200)
    if found.claim == "at least":
        assert found.rate >= 0.4  # 600 prompts where the claim is for 1,000
    else:
        assert found.promoted <= 2
    json.dumps(found.to_json(), allow_nan=False)


def test_gaming_is_stopped_by_independent_evidence() -> None:
    found = simulate(CONFIG, scenario("judge gaming"), experiments=20, world=SMALL, resamples=200)
    assert found.judged_change > 0.03
    assert found.true_change < -0.03
    assert max(found.stopped_by, key=lambda gate: found.stopped_by[gate]) == "independent_evidence"
    assert found.ss_passed > 15  # the training judge alone would have let it through


def test_stored_confusion_can_stand_for_the_judge() -> None:
    found = simulate(
        CONFIG, scenario("null"), experiments=10, world=SMALL, stored=GOOD_CONFUSION, resamples=200
    )
    assert found.experiments == 10


def test_the_same_seed_gives_the_same_result() -> None:
    first, second = (
        simulate(CONFIG, scenario("true gain"), experiments=5, world=SMALL, seed=9, resamples=200)
        for _ in range(2)
    )
    assert first == second


def test_intervals_are_clopper_and_pearsons() -> None:
    assert clopper_pearson(3, 50) == pytest.approx((beta.ppf(0.025, 3, 48), beta.ppf(0.975, 4, 47)))
    assert clopper_pearson(0, 50) == pytest.approx((0, 1 - 0.025 ** (1 / 50)))


def test_table_says_where_a_claim_does_not_hold() -> None:
    found = simulate(CONFIG, scenario("null"), experiments=3, world=SMALL, resamples=200)
    assert not found.holds  # three experiments prove nothing
    assert "**no**" in to_markdown([found])
    assert "| yes |" in to_markdown([replace(found, holds=True)])


def test_unknown_scenario_and_no_experiments_are_errors() -> None:
    with pytest.raises(ConfigurationError, match="null"):
        scenario("nul")
    with pytest.raises(ConfigurationError, match="experiments"):
        simulate(CONFIG, scenario("null"), experiments=0)


def test_two_processes_find_what_one_finds() -> None:
    chosen = scenario("true gain")
    one, two = (
        simulate(CONFIG, chosen, experiments=6, world=SMALL, seed=4, resamples=100, jobs=jobs)
        for jobs in (1, 2)
    )
    assert one == two
