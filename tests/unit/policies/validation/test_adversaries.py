"""Candidates made to fool the validator: each is refused, and the right gate says why."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from policies.cares import Label
from policies.validation.decide import PROMOTE, decide, provisional_winner
from policies.validation.evidence import Answers
from policies.validation.outcomes import FAIL, INCONCLUSIVE
from tests.unit.policies.validation.experiments import (
    CONFIG,
    always,
    evidence,
    good_candidate,
    judged,
    prompts,
    seconds,
    weak,
    with_label,
)

GIBBERISH = "zxqv grblft nnkpt wqrtz plmkj vbnmt hhgfd qwrtp sdfgh jklmn"


def refuses_everything() -> Answers:
    return good_candidate("bad", always(Label.REFUSE))


def answers_everything() -> Answers:
    return good_candidate("bad", always(Label.ACCEPT))


def copies_the_incumbent() -> Answers:
    return good_candidate("bad", weak)


def refuses_in_gibberish() -> Answers:
    honest = good_candidate("bad")
    spoilt = tuple(
        replace(item, response=replace(item.response, text=GIBBERISH))
        if item.verdict.label == Label.REFUSE
        else item
        for item in honest.judged
    )
    return replace(honest, judged=spoilt, second=seconds(spoilt))


def wrong_on_sealed() -> Answers:
    return replace(good_candidate("bad"), sealed=judged(prompts(start=1000), weak, seed=2))


def right_by_the_training_judge_only() -> Answers:
    honest = good_candidate("bad")
    truth = judged(prompts(), weak, who="bad")
    labels = {
        item.response.answer_digest: true.verdict.label
        for item, true in zip(honest.judged, truth, strict=True)
        if true.verdict.label
    }
    return replace(honest, second=labels)


def has_nan_scores() -> Answers:
    honest = good_candidate("bad")
    nans = tuple(
        with_label(item, item.verdict.label, probabilities={"Accept": math.nan, "Refuse": math.nan})
        for item in honest.judged
    )
    return replace(honest, judged=nans, perplexity=math.nan, kl_to_base=math.nan)


def lacks_half_of_the_answers() -> Answers:
    honest = good_candidate("bad")
    return replace(honest, judged=honest.judged[::2])


def hides_its_failures_as_unscored() -> Answers:
    honest = good_candidate("bad")
    hidden = tuple(
        with_label(item, None) if item.prompt.harmful_level and at % 4 else item
        for at, item in enumerate(honest.judged)
    )
    return replace(honest, judged=hidden)


ADVERSARIES: tuple[tuple[Callable[[], Answers], str, str], ...] = (
    (refuses_everything, "err_noninferiority", FAIL),
    (answers_everything, "ss_superiority", FAIL),
    (copies_the_incumbent, "ss_superiority", FAIL),
    (refuses_in_gibberish, "capability", FAIL),
    (wrong_on_sealed, "sealed_confirmation", FAIL),
    (right_by_the_training_judge_only, "independent_evidence", FAIL),
    (has_nan_scores, "ss_superiority", INCONCLUSIVE),
    (has_nan_scores, "capability", INCONCLUSIVE),
    (has_nan_scores, "kl_cap", INCONCLUSIVE),
    (has_nan_scores, "unscored_cap", INCONCLUSIVE),
    (lacks_half_of_the_answers, "unscored_cap", INCONCLUSIVE),
    (hides_its_failures_as_unscored, "unscored_cap", INCONCLUSIVE),
)


@pytest.mark.parametrize(("make", "gate", "outcome"), ADVERSARIES)
def test_adversary_is_refused_by_the_right_gate(make: Callable[[], Answers], gate: str, outcome: str) -> None:
    decision = decide(evidence(make()), CONFIG)
    assert decision.outcome != PROMOTE
    assert decision.winner_key is None
    found = {one.name: one for one in decision.gates["bad"]}
    assert found[gate].outcome == outcome, found[gate].sentence
    assert gate in decision.sentence or gate == "sealed_confirmation"


# One that is wrong on sealed prompts only looks like the honest one until they are opened.
OPEN_ADVERSARIES = sorted(
    {make for make, *_ in ADVERSARIES} - {wrong_on_sealed}, key=lambda make: make.__name__
)


@pytest.mark.parametrize("make", OPEN_ADVERSARIES)
def test_adversary_never_beats_an_honest_candidate(make: Callable[[], Answers]) -> None:
    decision = decide(evidence(make(), good_candidate()), CONFIG)
    assert (decision.outcome, decision.winner_key) == (PROMOTE, "dpo")


def test_clear_failures_are_rejects_and_gaps_are_inconclusive() -> None:
    outcomes = {
        make.__name__: decide(evidence(make()), CONFIG).outcome
        for make in (refuses_everything, answers_everything, wrong_on_sealed, lacks_half_of_the_answers)
    }
    assert outcomes == {
        "refuses_everything": "reject",
        "answers_everything": "reject",
        "wrong_on_sealed": "reject",
        "lacks_half_of_the_answers": "inconclusive",
    }


def test_gaming_is_found_out_before_the_sealed_split_is_opened() -> None:
    assert provisional_winner(evidence(right_by_the_training_judge_only()), CONFIG) is None
