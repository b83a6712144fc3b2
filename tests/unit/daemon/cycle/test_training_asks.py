"""The policy is asked plainly, and under examples only where that can give a pair its other side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from daemon.cycle.training_asks import TrainingSampling, read_context
from policies.cares import LABELS, Label
from policies.errors import ConfigurationError
from policies.preferences import dpo_pairs
from policies.records import PLAIN, Context, Judged, Prompt, Response, Verdict

SHIPPED = Path(__file__).parents[4] / "configs" / "worked_examples.yaml"
WORKED = Context("worked", (("user", "May I?"), ("assistant", "No.")))
TIMID = Context("timid", (("user", "May I?"), ("assistant", "Better not.")))
SAMPLING = TrainingSampling(
    worked=WORKED,
    over_cautious=TIMID,
    plain_tokens=9,
    plain_harmful_tokens=7,
    contrast_tokens=6,
    over_cautious_tokens=4,
    temperature=0.7,
    harmless_temperature=0.6,
    top_k=5,
)
PROMPTS = tuple(Prompt(f"{level} {n}", level, f"{level} {n}") for level in range(4) for n in range(5))


def judged(prompt: Prompt, label: Label | None, text: str = "plain", context: Context = PLAIN) -> Judged:
    text = f"{text} {prompt.text}"
    response = Response(
        f"{text} {context.name}", "p" * 64, prompt.digest, "s" * 64, context.name, 0, text, "stop", 3
    )
    reason = None if label else "no verdict"
    return Judged(
        prompt,
        response,
        Verdict("j" * 64, prompt.digest, response.answer_digest, label, unscored_reason=reason),
    )


def test_every_prompt_is_asked_plainly_harmful_ones_greedily() -> None:
    asks = SAMPLING.plain(PROMPTS)
    assert [ask.prompt for ask in asks] == list(PROMPTS)
    assert {ask.sampling.context for ask in asks} == {PLAIN}
    for ask in asks:
        assert ask.sampling.max_new_tokens == (7 if ask.prompt.harmful_level else 9)
        assert ask.sampling.temperature == (0.0 if ask.prompt.harmful_level else 0.6)
        assert (ask.seed == 0) is (ask.prompt.harmful_level > 0)
    greedy = replace(SAMPLING, harmless_temperature=0.0).plain(PROMPTS)
    assert {(ask.sampling.temperature, ask.seed) for ask in greedy} == {(0.0, 0)}


@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize("label", [*LABELS, None])
@pytest.mark.parametrize("prefer_refusals", [False, True])
@pytest.mark.parametrize("settle_for_caution", [False, True])
def test_examples_are_put_before_a_prompt_only_where_a_pair_can_come_of_it(
    level: int, label: Label | None, prefer_refusals: bool, settle_for_caution: bool
) -> None:
    wanted = {"prefer_refusals": prefer_refusals, "settle_for_caution": settle_for_caution}
    prompt = Prompt("p", level, "p")
    plain = judged(prompt, label)
    asks = replace(SAMPLING, **wanted).contrasts([plain], seed=1)
    # What the examples bring at best: a refusal. Does a pair come of it, by the code that makes pairs?
    refused = judged(prompt, Label.REFUSE, "refused", TIMID)
    others = [
        judged(Prompt(f"{n} {harm}", harm, f"{n} {harm}"), label, text)
        for n in range(9)
        for harm in (0, 3)
        for label, text in ((Label.ACCEPT, "yes"), (Label.REFUSE, "no"))
    ]
    pairs = dpo_pairs([plain, refused, *others], seed=0, harmful_ratio=2, **wanted)
    useful = any(pair.prompt_digest == prompt.digest for pair in pairs.dpo)
    assert bool(asks) is useful
    for ask in asks:
        assert ask.prompt == prompt
        assert ask.sampling.context == (WORKED if level else TIMID)
        assert (ask.sampling.temperature, ask.sampling.max_new_tokens) == (0.7, 6 if level else 4)
        assert ask.messages()[:2] == [
            {"role": "user", "content": "May I?"},
            {"role": "assistant", "content": "No." if level else "Better not."},
        ]


def test_harmless_prompts_without_an_accepted_answer_are_asked_again_by_another_seed() -> None:
    accepted, hedged, unscored, harmful = PROMPTS[0], PROMPTS[1], PROMPTS[2], PROMPTS[-1]
    answers = [
        judged(accepted, Label.ACCEPT),
        judged(hedged, Label.CAUTION),
        judged(unscored, None),
        judged(harmful, Label.ACCEPT),
    ]
    first = {ask.prompt: ask for ask in SAMPLING.plain(PROMPTS)}
    (again,) = SAMPLING.again(answers, attempt=1)
    assert again.prompt == hedged
    assert again.sampling == first[hedged].sampling
    (third,) = SAMPLING.again([*answers, judged(hedged, Label.REFUSE, "second")], attempt=2)
    assert len({again.seed, third.seed, first[hedged].seed}) == 3
    assert not SAMPLING.again([*answers, judged(hedged, Label.ACCEPT, "second")], attempt=2)
    assert not replace(SAMPLING, harmless_temperature=0.0).again(answers, attempt=1)


def test_a_prompt_that_was_asked_twice_is_asked_under_examples_once() -> None:
    hedged, harmful = PROMPTS[1], PROMPTS[-1]
    answers = [
        judged(hedged, Label.CAUTION),
        judged(hedged, Label.ACCEPT, "second"),
        judged(harmful, Label.ACCEPT),
    ]
    assert [ask.prompt for ask in SAMPLING.contrasts(answers, seed=1)] == [hedged, harmful]


def test_seed_of_a_sample_hangs_on_its_prompt_and_the_cycle_only() -> None:
    answers = [judged(prompt, Label.ACCEPT) for prompt in PROMPTS]
    first, second = (
        {ask.prompt.digest: ask.seed for ask in SAMPLING.contrasts(answers, seed=seed)} for seed in (1, 2)
    )
    assert len(set(first.values())) == len(PROMPTS)
    assert not set(first.values()) & set(second.values())
    backwards = SAMPLING.contrasts(answers[::-1], seed=1)
    assert {ask.prompt.digest: ask.seed for ask in backwards} == first


def test_where_refusals_are_borrowed_some_of_each_kind_are_asked_under_examples() -> None:
    answers = [judged(prompt, Label.ACCEPT) for prompt in PROMPTS]
    every = SAMPLING.contrasts(answers, seed=1)
    some = replace(SAMPLING, contrast_prompts=3).contrasts(answers, seed=1)
    assert sorted(ask.prompt.harmful_level > 0 for ask in some) == [False] * 3 + [True] * 3
    assert set(some) < set(every)
    assert set(replace(SAMPLING, contrast_prompts=3).contrasts(answers[::-1], seed=1)) == set(some)
    others = replace(SAMPLING, contrast_prompts=3).contrasts(answers, seed=2)
    assert {ask.prompt for ask in others} != {ask.prompt for ask in some}
    assert set(replace(SAMPLING, contrast_prompts=99).contrasts(answers, seed=1)) == set(every)


def test_shipped_worked_examples_refuse_twice_and_help_once() -> None:
    context = read_context(SHIPPED)
    answers = [content for role, content in context.messages if role == "assistant"]
    assert sum("can't help with that" in answer for answer in answers) == 2
    assert len(answers) == 3


def test_system_message_may_come_first(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(
        "name: w\nmessages:\n- {role: system, content: Be safe.}\n"
        "- {role: user, content: a}\n- {role: assistant, content: ' b '}\n"
    )
    assert read_context(file) == Context("w", (("system", "Be safe."), ("user", "a"), ("assistant", "b")))


@pytest.mark.parametrize(
    "text",
    [
        None,
        "a: [",
        "name: w",
        "messages: [{role: user, content: a}, {role: assistant, content: b}]",
        "name: w\nmessages: []",
        "name: w\nmessages: [{role: user, content: a}]",
        "name: w\nmessages: [{role: assistant, content: a}, {role: user, content: b}]",
        "name: w\nmessages: [{role: user, content: a}, {role: user, content: b}]",
        "name: w\nmessages: [{role: user}, {role: assistant, content: b}]",
        "name: w\nmessages: [{role: user, content: 3}, {role: assistant, content: b}]",
        "just text",
    ],
)
def test_file_that_holds_no_examples_is_refused_by_name(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "w.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"worked examples .*w\.yaml"):
        read_context(file)
