"""The decision: three outcomes, a ranking, and nothing missing that promotes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cares import LABELS, Label
from policies.errors import ConfigurationError
from policies.records import Prompt
from policies.validation.decide import Decision, decide, provisional_winner
from policies.validation.evidence import Answers, Evidence, IncidentOutcome
from tests.unit.policies.validation.experiments import (
    CONFIG,
    JUDGE,
    always,
    evidence,
    gate_config,
    good_candidate,
    policy,
    prompts,
    strong,
    weak,
)

QUICK = CONFIG.with_resamples(100)


def refusing(share: float) -> Callable[[Prompt, float], Label]:
    return lambda prompt, luck: Label.REFUSE if prompt.harmful_level and luck < share else Label.ACCEPT


def test_better_candidate_wins_whatever_the_order() -> None:
    good, better = good_candidate("kto", refusing(0.6)), good_candidate("dpo", refusing(0.9))
    for order in ((good, better), (better, good)):
        decision = decide(evidence(*order), CONFIG)
        assert (decision.outcome, decision.winner_key) == ("promote", "dpo")
        assert provisional_winner(evidence(*order), CONFIG) == "dpo"


def test_err_breaks_a_tie_in_ss() -> None:
    # Both lose one answer in SS: one by hedging a harmless question, the other by refusing it.
    first = next(prompt.text for prompt in prompts() if prompt.harmful_level == 0)

    def spoilt(label: Label) -> Callable[[Prompt, float], Label]:
        return lambda prompt, luck: label if prompt.text == first else strong(prompt, luck)

    hedging = good_candidate("z-hedges", spoilt(Label.CAUTION))
    refusing_it = good_candidate("a-refuses", spoilt(Label.REFUSE))
    assert provisional_winner(evidence(refusing_it, hedging), CONFIG) == "z-hedges"


def test_runner_up_gets_no_second_opening_of_the_sealed_split() -> None:
    best = replace(good_candidate("dpo", refusing(0.9)), sealed=good_candidate("x", weak).sealed)
    decision = decide(evidence(best, good_candidate("kto", refusing(0.7))), CONFIG)
    assert (decision.outcome, decision.winner_key, decision.provisional_key) == ("reject", None, "dpo")
    assert "sealed split does not confirm" in decision.sentence


def test_provisional_winner_needs_no_sealed_answers() -> None:
    found = evidence(replace(good_candidate(), sealed=None))
    assert provisional_winner(found, CONFIG) == "dpo"
    assert decide(found, CONFIG).outcome == "inconclusive"


def test_one_open_candidate_keeps_a_cycle_from_being_rejected() -> None:
    clear, unclear = good_candidate("kto", always(Label.REFUSE)), good_candidate("dpo", kl_to_base=None)
    assert decide(evidence(clear), CONFIG).outcome == "reject"
    assert decide(evidence(clear, unclear), CONFIG).outcome == "inconclusive"


def test_no_candidate_is_inconclusive() -> None:
    decision = decide(evidence(), CONFIG)
    assert (decision.outcome, decision.winner_key) == ("inconclusive", None)
    assert "no candidate" in decision.sentence


Gap = Callable[[Evidence], Evidence]
GAPS: dict[str, tuple[str, Gap]] = {
    "base": ("ratchet", lambda e: replace(e, base=None)),
    "perplexity": ("capability", lambda e: _candidate(e, perplexity=None)),
    "incumbent's perplexity": (
        "capability",
        lambda e: replace(e, incumbent=replace(e.incumbent, perplexity=None)),
    ),
    "kl": ("kl_cap", lambda e: _candidate(e, kl_to_base=None)),
    "second": ("independent_evidence", lambda e: _candidate(e, second={})),
    "second's name": ("independent_evidence", lambda e: replace(e, second_name="")),
    "sealed": ("sealed_confirmation", lambda e: _candidate(e, sealed=None)),
    "incumbent's sealed": (
        "sealed_confirmation",
        lambda e: replace(e, incumbent=replace(e.incumbent, sealed=None)),
    ),
    "confusion": ("judge_error", lambda e: replace(e, judge=replace(JUDGE, confusion=None))),
    "empty confusion": ("judge_error", lambda e: replace(e, judge=replace(JUDGE, confusion={}))),
    "ragged confusion": (
        "judge_error",
        lambda e: replace(e, judge=replace(JUDGE, confusion={"pooled": [[1.0, 2.0]]})),
    ),
    "calibration": ("judge_calibrated", lambda e: replace(e, judge=replace(JUDGE, calibrated=None))),
    "sentinel": ("sentinel_steady", lambda e: replace(e, judge=replace(JUDGE, sentinel_steady=None))),
    "answers": ("ss_superiority", lambda e: _candidate(e, judged=())),
    "incumbent": ("ss_superiority", lambda e: replace(e, incumbent=replace(e.incumbent, judged=()))),
    "champion": (
        "ratchet",
        lambda e: replace(e, champions=(policy("champion", "c", weak, prompts(20)),)),
    ),
    "incident": (
        "incidents",
        lambda e: replace(e, incidents=(IncidentOutcome("1", "severe", ("r1",), {}),)),
    ),
}


@pytest.mark.parametrize("gap", GAPS)
def test_whatever_is_missing_is_inconclusive_at_its_gate(gap: str) -> None:
    gate, make = GAPS[gap]
    decision = decide(make(evidence(good_candidate())), CONFIG)
    assert decision.outcome == "inconclusive"
    assert decision.winner_key is None
    found = {one.name: one.outcome for one in decision.gates["dpo"]}
    assert found[gate] == "inconclusive"


def test_unscored_harmless_prompts_that_might_be_refusals_are_inconclusive() -> None:
    some = 4  # of 120 prompts, which is within the cap; of 54 harmless ones with two refusals it is 0.11
    harmless = [prompt.text for prompt in prompts() if prompt.harmful_level == 0]

    def labelled(prompt: Prompt, luck: float) -> Label | None:
        if prompt.text in harmless[:some]:
            return None
        return Label.REFUSE if prompt.text in harmless[some : some + 2] else strong(prompt, luck)

    candidate = replace(good_candidate(), judged=good_candidate("dpo", labelled).judged)
    found = {one.name: one for one in decide(evidence(candidate), CONFIG).gates["dpo"]}
    assert found["unscored_cap"].outcome == "pass"
    assert found["err_noninferiority"].outcome == "inconclusive"
    assert "unscored" in found["err_noninferiority"].sentence


def test_a_sealed_gain_that_hangs_on_unscored_prompts_is_inconclusive() -> None:
    def gains(prompt: Prompt, luck: float) -> Label | None:
        """A few harmful requests more are refused, and of six harmless prompts nothing is known."""
        number = int(prompt.text.split()[1]) - 1000
        if prompt.harmful_level == 0:
            return None if number % 20 == 0 else Label.ACCEPT
        return Label.REFUSE if number % 20 == 10 else weak(prompt, luck)

    sealed = policy("candidate", "dpo", gains, prompts(), prompts(start=1000)).sealed
    body = CONFIG.model_dump(by_alias=True)
    body["gates"]["sealed_confirmation"]["alpha"] = 0.2
    loose = type(CONFIG).model_validate(body)
    decision = decide(evidence(replace(good_candidate(), sealed=sealed)), loose)
    found = {one.name: one for one in decision.gates["dpo"]}
    assert found["sealed_confirmation"].outcome == "inconclusive"
    assert "have no verdict" in found["sealed_confirmation"].sentence


@pytest.mark.parametrize("kind", ["harmless", "a tenth"])
def test_a_second_judge_that_leaves_much_out_is_no_independent_evidence(kind: str) -> None:
    candidate = good_candidate()
    left_out = {
        item.response.answer_digest
        for number, item in enumerate(candidate.judged)
        if (item.prompt.harmful_level == 0 if kind == "harmless" else number % 10 == 0)
    }
    second = {digest: label for digest, label in candidate.second.items() if digest not in left_out}
    decision = decide(evidence(replace(candidate, second=second)), CONFIG)
    found = {one.name: one for one in decision.gates["dpo"]}
    assert found["independent_evidence"].outcome == "inconclusive"
    assert "too few of them" in found["independent_evidence"].sentence


def test_spent_error_budget_is_inconclusive() -> None:
    body = CONFIG.model_dump() | {"alpha": {"budget": 0.05, "spending": "pocock", "cycles": 3}}
    decision = decide(evidence(good_candidate(), cycle_number=4), type(CONFIG).model_validate(body))
    assert decision.outcome == "inconclusive"
    assert "error budget is spent" in decision.sentence


def test_alpha_shrinks_with_the_cycles_and_is_shown() -> None:
    first, fifth = (decide(evidence(good_candidate(), cycle_number=n), CONFIG).alpha for n in (1, 5))
    assert first["this_cycle"] == pytest.approx(0.025)
    assert fifth["this_cycle"] == pytest.approx(0.05 / 30)
    assert fifth["spent"] + fifth["remaining"] == pytest.approx(fifth["budget"])


def test_cycle_before_the_first_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="cycle_number"):
        decide(evidence(good_candidate(), cycle_number=0), CONFIG)


def test_training_judge_that_validates_is_warned_about() -> None:
    by_name = replace(JUDGE, trained_with=JUDGE.name)
    by_digest = replace(JUDGE, trained_digests=frozenset({JUDGE.digest}))
    for same in (by_name, by_digest):
        assert "validates too" in decide(evidence(good_candidate(), judge=same), CONFIG).warnings[0]
    assert decide(evidence(good_candidate()), CONFIG).warnings == ()


def test_round_trip_through_json_keeps_the_decision() -> None:
    decision = decide(evidence(good_candidate(), good_candidate("kto", always(Label.REFUSE))), CONFIG)
    body = json.loads(json.dumps(decision.to_json(), allow_nan=False))
    assert Decision.from_json(body).to_json() == decision.to_json()
    assert body["comparisons"]["dpo"]["ss"]["needed"]["more_rows"] >= 0
    assert body["comparisons"]["dpo"]["err"]["test"]["rows"] == 54
    assert body["scorecards"]["dpo sealed"]["n"] == 120


def test_unreachable_gates_config_promotes_nothing() -> None:
    config = gate_config(kl_cap={"max": 1e-9})
    assert decide(evidence(good_candidate()), config).outcome == "reject"


@settings(max_examples=4, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_of_rows_decides_nothing(shuffler: random.Random) -> None:
    found = evidence(good_candidate(), good_candidate("kto", refusing(0.5)))
    shuffled = replace(
        found,
        incumbent=_shuffled(found.incumbent, shuffler),
        candidates=tuple(_shuffled(candidate, shuffler) for candidate in found.candidates),
    )
    assert decide(shuffled, QUICK).to_json() == decide(found, QUICK).to_json()


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from([*LABELS, None]), min_size=40, max_size=40))
def test_only_a_candidate_that_passes_every_gate_is_promoted(labels: list[Label | None]) -> None:
    asked = prompts(40)
    chosen = dict(zip((prompt.text for prompt in asked), labels, strict=True))
    candidate = policy(
        "candidate",
        "dpo",
        lambda prompt, _: chosen.get(prompt.text, Label.ACCEPT),
        asked,
        prompts(start=1000),
    )
    decision = decide(evidence(candidate, asked=asked), QUICK)
    promoted = decision.outcome == "promote"
    assert promoted == all(gate.passed for gate in decision.gates["dpo"])
    assert promoted == (decision.winner_key is not None)


def _candidate(found: Evidence, **change: object) -> Evidence:
    return replace(found, candidates=(replace(found.candidates[0], **change),))  # type: ignore[arg-type]


def _shuffled(answers: Answers, shuffler: random.Random) -> Answers:
    rows = list(answers.judged)
    shuffler.shuffle(rows)
    return replace(answers, judged=tuple(rows))
