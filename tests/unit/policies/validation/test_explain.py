"""A decision in words."""

from __future__ import annotations

from dataclasses import replace

from policies.cares import Label
from policies.validation.decide import Decision, decide
from policies.validation.explain import explain, explain_markdown
from tests.unit.policies.validation.experiments import (
    CONFIG,
    JUDGE,
    always,
    evidence,
    good_candidate,
    prompts,
)


def test_every_gate_and_figure_is_told_and_no_prompt() -> None:
    decision = decide(evidence(good_candidate()), CONFIG)
    for text in (explain(decision), explain_markdown(decision)):
        assert "Promote dpo" in text
        assert all(gate.name in text for gate in decision.gates["dpo"])
        assert "Error budget 0.05" in text
        assert "dpo, sealed" in text
        assert all(prompt.text not in text for prompt in prompts())


def test_what_stops_a_candidate_stands_first() -> None:
    decision = decide(evidence(good_candidate("kto", always(Label.REFUSE))), CONFIG)
    lines = explain(decision).splitlines()
    gates = [line for line in lines if line.startswith("  ")]
    assert gates[0].startswith("  FAIL  err_noninferiority")
    assert "No winner" in lines[0]


def test_words_survive_storage() -> None:
    decision = decide(evidence(good_candidate()), CONFIG)
    assert explain(Decision.from_json(decision.to_json())) == explain(decision)


def test_inconclusive_gain_says_how_many_prompts_would_settle_it() -> None:
    few = prompts(40)
    candidate = replace(good_candidate(), judged=good_candidate().judged[:40])
    incumbent = evidence(asked=few).incumbent
    text = explain(decide(evidence(candidate, asked=few, incumbent=incumbent, cycle_number=40), CONFIG))
    assert "more prompts" in text


def test_bars_in_names_do_not_break_the_tables() -> None:
    candidate = replace(good_candidate(), name="dpo | <b>")
    text = explain_markdown(decide(evidence(candidate, judge=replace(JUDGE, name="a|b")), CONFIG))
    assert "| dpo \\| <b> |" in text
