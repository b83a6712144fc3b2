"""What a cycle asks: seeded, the same after a restart, held-out prompts the same in every cycle."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from daemon.cycle.questions import Amounts, Questions, choose, evaluation_asks
from policies.records import PLAIN, Prompt
from policies.splits import Splits

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


def test_held_out_prompts_are_harmless_in_the_selection_mix_and_of_base_prompts_that_are_not_asked() -> None:
    both = tuple(
        replace(prompt, text=f"{prompt.text} by {method}", method=method)
        for prompt in SPLITS.train
        for method in ("direct", "role_play")
    )
    weights = {"direct": 1.0, "role_play": 1.0}
    amounts = replace(AMOUNTS, train=20, train_hard_benign_share=0.8, held_out=20, method_weights=weights)
    found = choose(replace(SPLITS, train=both), amounts, cycle_seed=1, split_seed=1)
    assert len(set(found.held_out)) == 20
    assert {prompt.harmful_level for prompt in found.held_out} == {0}
    assert sum(prompt.hard_benign for prompt in found.held_out) == 10
    assert {p.base_prompt for p in found.held_out}.isdisjoint(p.base_prompt for p in found.train)
    assert len(found.train) == 20
    assert chosen().held_out == ()
    later = choose(replace(SPLITS, train=both), amounts, cycle_seed=2, split_seed=1)
    assert (later.held_out == found.held_out, later.train == found.train) == (True, False)


def test_at_most_half_of_the_harmless_base_prompts_are_held_out() -> None:
    amounts = replace(AMOUNTS, train_level_shares={0: 1.0}, train=60, held_out=500, hard_benign_share=0.0)
    found = chosen(amounts=amounts)
    assert (len(found.held_out), len(found.train)) == (30, 30)


def test_evaluation_is_plain_and_greedy() -> None:
    asks = evaluation_asks(SPLITS.sealed[:3], max_new_tokens=7)
    assert [ask.prompt for ask in asks] == list(SPLITS.sealed[:3])
    assert {
        (a.sampling.temperature, a.sampling.max_new_tokens, a.sampling.context, a.seed) for a in asks
    } == {(0.0, 7, PLAIN, 0)}


def test_train_prompts_may_be_asked_by_other_methods_than_held_out_ones_and_each_kind_by_its_own() -> None:
    both = tuple(
        replace(prompt, text=f"{prompt.text} by {method}", method=method)
        for prompt in SPLITS.train
        for method in ("direct", "role_play")
    )
    splits = replace(SPLITS, train=both)
    alone = choose(splits, AMOUNTS, cycle_seed=1, split_seed=1)

    def methods(**weights: dict[str, float]) -> dict[bool, Counter[str | None]]:
        found = choose(splits, replace(AMOUNTS, **weights), cycle_seed=1, split_seed=1)
        assert (found.selection, found.sealed) == (alone.selection, alone.sealed)
        return {
            kind: Counter(p.method for p in found.train if (p.harmful_level > 0) is kind)
            for kind in (False, True)
        }

    mixed = {"direct": 2.0, "role_play": 1.0}
    assert methods() == {False: {"direct": 12}, True: {"direct": 4}}
    assert methods(harmless_method_weights=mixed) == {
        False: {"direct": 8, "role_play": 4},
        True: {"direct": 4},
    }
    assert methods(harmful_method_weights={"role_play": 1.0}) == {
        False: {"direct": 12},
        True: {"role_play": 4},
    }
