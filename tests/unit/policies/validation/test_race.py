"""Who is stopped early, and who is not."""

from __future__ import annotations

import numpy as np
import pytest

from policies.cares import Label
from policies.errors import ConfigurationError
from policies.validation.race import race, upper_bound
from policies.validation.tables import align
from tests.unit.policies.validation.experiments import always, judged, prompts, strong, weak

ASKED = prompts(300)


def test_a_hopeless_candidate_is_stopped_and_the_best_is_not() -> None:
    rivals = {"good": judged(ASKED, strong), "hopeless": judged(ASKED, always(Label.ACCEPT))}
    stopped = race(judged(ASKED, weak), rivals, looks=3)
    assert [one.key for one in stopped] == ["hopeless"]
    assert stopped[0].behind == "good"
    assert "below that of good" in stopped[0].sentence


def test_one_clearly_worse_than_the_incumbent_is_stopped() -> None:
    stopped = race(judged(ASKED, strong), {"worse": judged(ASKED, weak)}, looks=3)
    assert [(one.key, one.behind) for one in stopped] == [("worse", "incumbent")]


def test_nobody_is_stopped_by_few_verdicts() -> None:
    few = ASKED[:20]
    assert race(judged(few, strong), {"worse": judged(few, always(Label.ACCEPT))}, looks=3) == []


def test_equal_candidates_race_on() -> None:
    rivals = {name: judged(ASKED, strong, seed=seed) for seed, name in enumerate("abc")}
    assert race(judged(ASKED, weak), rivals, looks=3) == []


def test_bound_covers_the_truth() -> None:
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(100):
        levels = [prompt for prompt in ASKED[:60] if prompt.harmful_level][:30]
        rows = judged(levels, lambda *_: Label.REFUSE if rng.random() < 0.5 else Label.ACCEPT)
        others = judged(levels, lambda *_: Label.REFUSE if rng.random() < 0.5 else Label.ACCEPT)
        missed += upper_bound(align(rows, others), 0.1, 2) < 0
    assert missed <= 10


def test_looks_and_error_have_to_make_sense() -> None:
    with pytest.raises(ConfigurationError, match="looks"):
        race((), {}, looks=0)
