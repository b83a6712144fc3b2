"""What a cycle asks: seeded, the same after a restart, held-out prompts the same in every cycle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from daemon.cycle.questions import Amounts, Questions, choose, evaluation_asks, read_context, training_asks
from policies.errors import ConfigurationError
from policies.records import PLAIN, Ask, Context, Prompt
from policies.splits import Splits

SHIPPED = Path(__file__).parents[4] / "configs" / "worked_examples.yaml"
WORKED = Context("worked", (("user", "May I?"), ("assistant", "No.")))
TIMID = Context("timid", (("user", "May I?"), ("assistant", "Better not.")))
AMOUNTS = Amounts(
    train=16,
    selection=12,
    sealed=8,
    level_shares={0: 0.5, 3: 0.5},
    train_level_shares={0: 0.75, 3: 0.25},
    method_weights={"direct": 1},
    train_hard_benign_share=1.0,
    hard_benign_share=0.5,
)


def prompts(name: str) -> tuple[Prompt, ...]:
    return tuple(
        Prompt(
            f"{name} {kind} {n}",
            3 * (kind == "harmful"),
            f"{name} {kind} {n}",
            n % 8,
            "direct",
            hard_benign=kind == "hard",
        )
        for kind in ("plain", "hard", "harmful")
        for n in range(30)
    )


SPLITS = Splits(prompts("train"), prompts("selection"), prompts("sealed"))


def chosen(cycle_seed: int = 1, amounts: Amounts = AMOUNTS, split_seed: int = 1) -> Questions:
    return choose(SPLITS, amounts, cycle_seed=cycle_seed, split_seed=split_seed)


def test_same_seeds_ask_the_same_again() -> None:
    assert chosen() == chosen()


def test_train_prompts_change_with_the_cycle_and_held_out_ones_do_not() -> None:
    first, second = chosen(1), chosen(2)
    assert first.train != second.train
    assert (first.selection, first.sealed) == (second.selection, second.sealed)
    assert chosen(split_seed=2).selection != first.selection


def test_each_part_comes_from_its_own_split_in_the_mix_asked_for() -> None:
    found = chosen()
    for name, count, harmless, hard in (("train", 16, 12, 12), ("selection", 12, 6, 3), ("sealed", 8, 4, 2)):
        part = getattr(found, name)
        assert len(set(part)) == count
        assert set(part) <= set(getattr(SPLITS, name))
        assert sum(prompt.harmful_level == 0 for prompt in part) == harmless
        assert sum(prompt.hard_benign for prompt in part) == hard


def test_source_without_hard_benign_prompts_is_asked_all_the_same() -> None:
    plain = Splits(
        *(
            tuple(p for p in part if not p.hard_benign)
            for part in (SPLITS.train, SPLITS.selection, SPLITS.sealed)
        )
    )
    found = choose(plain, replace(AMOUNTS, hard_benign_share=0.9), cycle_seed=1, split_seed=1)
    assert len(found.train) == 16


def asked(seed: int, some: tuple[Prompt, ...] = SPLITS.train[:5]) -> list[Ask]:
    return list(
        training_asks(
            some,
            WORKED,
            TIMID,
            max_new_tokens=9,
            temperature=0.7,
            harmless_temperature=0.6,
            top_k=5,
            seed=seed,
        )
    )


def test_every_training_prompt_is_asked_plainly_and_under_the_examples_of_its_level() -> None:
    some = tuple(
        prompt
        for harmful in (False, True)
        for prompt in [one for one in SPLITS.train if (one.harmful_level > 0) is harmful][:6]
    )
    asks = training_asks(
        some, WORKED, TIMID, max_new_tokens=9, temperature=0.7, harmless_temperature=0.6, top_k=5, seed=1
    )
    plain = [ask for ask in asks if ask.sampling.context == PLAIN]
    under = [ask for ask in asks if ask.sampling.context != PLAIN]
    assert [ask.prompt for ask in plain] == [ask.prompt for ask in under] == list(some)
    for ask in plain:
        assert ask.sampling.temperature == (0.0 if ask.prompt.harmful_level else 0.6)
    assert {ask.seed for ask in plain if ask.prompt.harmful_level} == {0}
    greedy = training_asks(
        some, WORKED, TIMID, max_new_tokens=9, temperature=0.7, harmless_temperature=0.0, top_k=5, seed=1
    )
    assert {(ask.sampling.temperature, ask.seed) for ask in greedy[: len(some)]} == {(0.0, 0)}
    assert {ask.sampling.temperature for ask in under} == {0.7}
    assert len({ask.seed for ask in under}) == len(some)
    assert {ask.prompt.harmful_level > 0 for ask in under} == {True, False}
    for ask in under:
        assert ask.sampling.context == (WORKED if ask.prompt.harmful_level else TIMID)
    worked = [ask for ask in under if ask.sampling.context == WORKED]
    assert worked[0].messages()[:2] == [
        {"role": "user", "content": "May I?"},
        {"role": "assistant", "content": "No."},
    ]


def test_seed_of_a_sample_hangs_on_its_prompt_and_the_cycle_only() -> None:
    assert asked(1) == asked(1)
    assert asked(1) != asked(2)
    backwards = asked(1, SPLITS.train[:5][::-1])
    assert set(map(repr, backwards)) == set(map(repr, asked(1)))


def test_plain_training_answers_do_not_change_with_the_cycle() -> None:
    """So that they are found again when the same policy is asked in a later cycle."""
    key = [ask.key("p") for ask in asked(1)]
    later = [ask.key("p") for ask in asked(2)]
    assert key[:5] == later[:5]
    assert not set(key[5:]) & set(later[5:])


def test_evaluation_is_plain_and_greedy() -> None:
    asks = evaluation_asks(SPLITS.sealed[:3], max_new_tokens=7)
    assert [ask.prompt for ask in asks] == list(SPLITS.sealed[:3])
    assert {
        (a.sampling.temperature, a.sampling.max_new_tokens, a.sampling.context, a.seed) for a in asks
    } == {(0.0, 7, PLAIN, 0)}


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
