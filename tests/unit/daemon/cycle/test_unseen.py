"""What any earlier cycle trained on may not be tested on, however the splits are made now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest

from daemon.cycle.answers import Asking
from daemon.cycle.unseen import assert_unseen
from daemon.store.store import Store
from policies.errors import Held
from policies.records import Ask, Candidate, Policy, Prompt, Sampling
from policies.splits import Splits, split
from tests.fakes.scripted_engine import ScriptedEngine

WORDS = ("ash", "birch", "cedar", "elm", "fir", "hazel", "ivy", "juniper", "larch", "maple", "oak", "pine")
PROMPTS = [
    Prompt(f"{way} {tree} {other}", 0, f"tell of {tree} {other}")
    for tree in WORDS
    for other in WORDS[:4]
    for way in ("please explain", "what of")
]
Instant = Callable[[float], datetime]
Made = Callable[..., Candidate]


def split_by(seed: int) -> Splits:
    return split(PROMPTS, seed=seed, threshold=0.99)


def earlier_cycle(
    store: Store, at: Instant, trained: Candidate | None, *, seed: int = 1, purpose: str = "train"
) -> int:
    """A cycle that asked its train split under this seed, and perhaps trained."""
    base = Policy("b" * 64)
    config = {"prompts": {"split_seed": seed}}
    cycle = store.cycles.create(incumbent=base, seed=7, config_digest="c" * 64, config=config, at=at(0))
    asks = [Ask(prompt, Sampling(8), 0) for prompt in split_by(seed).train]
    asking = Asking(store=store, now=lambda: at(1), cycle_id=cycle.id)
    asking.answer(ScriptedEngine, base, asks, purpose=purpose)
    if trained is not None:
        store.results.save_candidate(cycle.id, trained, at(2))
    store.cycles.advance(cycle.id, "running", "no_winner", "decide", at(3))
    return cycle.id


def test_same_seed_goes_on(store: Store, at: Instant, candidate: Made) -> None:
    assert_unseen(store, split_by(1), split_seed=1)
    earlier_cycle(store, at, candidate())
    assert store.answers.trained_on()
    assert_unseen(store, split_by(1), split_seed=1)


def test_another_seed_holds_and_says_which_to_set_back(store: Store, at: Instant, candidate: Made) -> None:
    number = earlier_cycle(store, at, candidate())
    trained, now = {one.base_prompt for one in split_by(1).train}, split_by(2)
    counts = [sum(one.base_prompt in trained for one in part) for part in (now.selection, now.sealed)]
    assert min(counts) > 0
    with pytest.raises(Held) as caught:
        assert_unseen(store, now, split_seed=2)
    told = str(caught.value)
    assert told.startswith(f"{counts[0]} selection and {counts[1]} sealed prompts")
    assert f"cycle {number}" in told
    assert "prompts.split_seed is 2 and was 1 then: set it back to 1" in told
    assert not any(tree in told for tree in WORDS), "prompts are nobody's business in a message"


def test_rewrite_of_a_trained_prompt_counts_though_it_is_worded_anew(
    store: Store, at: Instant, candidate: Made
) -> None:
    earlier_cycle(store, at, candidate())
    clean = split_by(1)
    rewrite = replace(clean.train[0], text="worded anew", base_prompt=clean.train[0].base_prompt.upper())
    for part in ("selection", "sealed"):
        leaking = replace(clean, **{part: (*getattr(clean, part), rewrite)})
        with pytest.raises(Held, match=f"1 {part}"):
            assert_unseen(store, leaking, split_seed=1)


@pytest.mark.parametrize(
    "likeness",
    [
        {"base_prompt": "worded otherwise"},
        {"text": "worded otherwise", "base_prompt": "tell of {} trees"},
    ],
    ids=["same text", "near-duplicate"],
)
def test_what_a_split_would_keep_together_counts(
    store: Store, at: Instant, candidate: Made, likeness: dict[str, str]
) -> None:
    earlier_cycle(store, at, candidate())
    clean = split_by(1)
    trees = clean.train[0].base_prompt.removeprefix("tell of ")
    like = replace(clean.train[0], **{key: text.replace("{}", trees) for key, text in likeness.items()})
    with pytest.raises(Held, match="0 selection and 1 sealed"):
        assert_unseen(store, replace(clean, sealed=(*clean.sealed, like)), split_seed=1)


def test_what_was_asked_under_a_wrong_seed_and_not_trained_on_holds_nothing(
    store: Store, at: Instant, candidate: Made
) -> None:
    number = earlier_cycle(store, at, candidate())
    asks = [Ask(prompt, Sampling(8), 0) for prompt in (*split_by(2).train, *split_by(1).train)]
    asking = Asking(store=store, now=lambda: at(1), cycle_id=number)
    asking.answer(ScriptedEngine, Policy("b" * 64), asks, purpose="train")
    with pytest.raises(Held):
        assert_unseen(store, split_by(1), split_seed=1)
    keys = [ask.key(Policy("b" * 64).digest) for ask in asks if ask.prompt in split_by(1).train]
    store.answers.add_asks(number, "trained", keys)
    assert_unseen(store, split_by(1), split_seed=1)
    with pytest.raises(Held):
        assert_unseen(store, split_by(2), split_seed=2)


def test_under_the_same_seed_the_source_is_named(store: Store, at: Instant, candidate: Made) -> None:
    earlier_cycle(store, at, candidate())
    clean = split_by(1)
    moved = replace(clean, sealed=(*clean.sealed, clean.train[0]))
    with pytest.raises(Held, match=r"same prompts\.split_seed = 1.*prompts\.source"):
        assert_unseen(store, moved, split_seed=1)


def test_only_cycles_that_trained_count_and_only_what_they_trained_on(
    store: Store, at: Instant, candidate: Made
) -> None:
    earlier_cycle(store, at, None)
    assert_unseen(store, split_by(2), split_seed=2)
    earlier_cycle(store, at, candidate(), seed=2, purpose="selection")
    assert_unseen(store, split_by(3), split_seed=3)
    earlier_cycle(store, at, candidate(), seed=2)
    with pytest.raises(Held):
        assert_unseen(store, split_by(3), split_seed=3)
