"""What becomes training data, and what never does."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from policies.cares import LABELS, LEVELS, Label, is_desirable, safety_score
from policies.errors import NotEnoughData
from policies.preferences import Preferences, dpo_pairs, kto_examples
from policies.records import Ask, Context, Judged, Policy, Prompt, Response, Sampling, Verdict

A, C, R = LABELS
POLICY = Policy("b" * 64)
WORKED = Context("worked", (("user", "?"), ("assistant", "!")))


def judged(
    number: int,
    level: int,
    label: Label | None,
    text: str = "",
    *,
    worked: bool = False,
    finish: str = "stop",
    policy: Policy = POLICY,
    method: str | None = None,
) -> Judged:
    """An answer to prompt `number`; its text is its own unless given."""
    prompt = Prompt(f"prompt {number}", level, f"base {number}", method=method)
    sampling = Sampling(context=WORKED) if worked else Sampling()
    text = text or f"{label} {'worked' if worked else 'plain'} {number}."
    ask = Ask(prompt, sampling, 0)
    response = Response(
        ask.key(policy.digest),
        policy.digest,
        prompt.digest,
        sampling.digest,
        sampling.context.name,
        0,
        text,
        finish,
        5,
    )
    reason = "none" if label is None else None
    verdict = Verdict("j" * 64, prompt.digest, response.answer_digest, label, unscored_reason=reason)
    return Judged(prompt, response, verdict)


def two(
    number: int, level: int, plain: Label | None, worked: Label | None, method: str | None = None
) -> list[Judged]:
    return [
        judged(number, level, plain, method=method),
        judged(number, level, worked, worked=True, method=method),
    ]


def enough(each: int = 8) -> list[Judged]:
    """`each` pairs on harmful prompts, numbered from 2000, and twice as many on harmless ones from 1000."""
    harmless = [one for n in range(2 * each) for one in two(1000 + n, 0, A, R)]
    return harmless + [one for n in range(each) for one in two(2000 + n, 3, A, R)]


def pair_of(level: int, plain: Label | None, worked: Label | None, **wanted: bool) -> tuple[str, str] | None:
    """(chosen, rejected) for one prompt among enough others; None where it makes no pair."""
    found = dpo_pairs([*two(1, level, plain, worked), *enough()], seed=0, **wanted)
    mine = [(row.chosen, row.rejected) for row in found.dpo if row.prompt == "prompt 1"]
    return mine[0] if mine else None


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("plain", LABELS)
@pytest.mark.parametrize("worked", LABELS)
def test_a_pair_is_made_exactly_where_the_table_tells_a_best_answer_from_a_worse(
    level: int, plain: Label, worked: Label
) -> None:
    scores = {"plain": safety_score(level, plain), "worked": safety_score(level, worked)}
    best = max((plain, worked), key=lambda label: safety_score(level, label))
    expected = scores["plain"] != scores["worked"] and is_desirable(level, best)
    found = pair_of(level, plain, worked)
    assert (found is not None) == expected
    if found is not None:
        chosen = "plain" if scores["plain"] > scores["worked"] else "worked"
        assert chosen in found[0]
        assert chosen not in found[1]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("plain", LABELS)
@pytest.mark.parametrize("worked", LABELS)
def test_a_preference_for_refusals_changes_pairs_at_the_mild_level_alone(
    level: int, plain: Label, worked: Label
) -> None:
    found = pair_of(level, plain, worked, prefer_refusals=True)
    if level == 1 and {plain, worked} == {C, R}:
        assert found is not None
        assert [answer.split()[0] for answer in found] == [R, C]
    elif level == 1 and {plain, worked} == {A, C}:
        assert found is None  # caution over compliance: neither declines
    else:
        assert found == pair_of(level, plain, worked)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("plain", LABELS)
@pytest.mark.parametrize("worked", LABELS)
@pytest.mark.parametrize("prefer_refusals", [False, True])
def test_settling_for_caution_adds_pairs_on_harmless_prompts_alone(
    level: int, plain: Label, worked: Label, prefer_refusals: bool
) -> None:
    found = pair_of(level, plain, worked, settle_for_caution=True, prefer_refusals=prefer_refusals)
    if level == 0 and {plain, worked} == {C, R}:
        assert found is not None
        assert [answer.split()[0] for answer in found] == [C, R]
    else:
        assert found == pair_of(level, plain, worked, prefer_refusals=prefer_refusals)


def test_caution_is_not_settled_for_where_an_answer_was_accepted() -> None:
    rows = [judged(1, 0, C), judged(1, 0, A, "plain yes."), judged(1, 0, R, worked=True)]
    pairs = dpo_pairs([*rows, *enough()], seed=0, settle_for_caution=True).dpo
    assert next(row for row in pairs if row.prompt == "prompt 1").chosen == "plain yes."


def test_refusal_goes_before_caution_where_a_harmful_level_scores_them_alike() -> None:
    rows = [judged(1, 1, C), judged(1, 1, R, worked=True), judged(1, 1, A, "plain yes.")]
    found = next(row for row in dpo_pairs([*rows, *enough()], seed=0).dpo if row.prompt == "prompt 1")
    assert found.chosen == "Refuse worked 1."
    assert found.rejected == "plain yes."


def test_refusal_is_the_worst_answer_where_a_harmless_level_scores_it_like_caution() -> None:
    rows = [judged(1, 0, A), judged(1, 0, C, worked=True), judged(1, 0, R, "no, worked.", worked=True)]
    found = next(row for row in dpo_pairs([*rows, *enough()], seed=0).dpo if row.prompt == "prompt 1")
    assert (found.chosen, found.rejected) == ("Accept plain 1.", "no, worked.")


def test_of_equal_answers_the_plain_one_is_chosen() -> None:
    rows = [judged(1, 3, R, worked=True), judged(1, 3, R), judged(1, 3, A, "yes.", worked=True)]
    found = next(row for row in dpo_pairs([*rows, *enough()], seed=0).dpo if row.prompt == "prompt 1")
    assert found.chosen == "Refuse plain 1."


OLD = Policy("o" * 64)


def replayed_pair(now: list[Judged], before: list[Judged]) -> tuple[str, str] | None:
    found = dpo_pairs([*now, *enough()], replayed=before, seed=0)
    return next(((row.chosen, row.rejected) for row in found.dpo if row.prompt == "prompt 1"), None)


@pytest.mark.parametrize(
    ("now", "before", "pair"),
    [
        ([], [(R, "old no."), (A, "old yes.")], ("old no.", "old yes.")),
        ([(R, "no.")], [(A, "old yes.")], ("no.", "old yes.")),
        ([(R, "no."), (A, "yes.")], [(R, "old no."), (A, "old yes.")], ("no.", "yes.")),
        ([(C, "well.")], [(R, "old no."), (A, "old yes.")], ("old no.", "well.")),
        ([(R, "no.")], [(R, "old no.")], None),
    ],
)
def test_prompt_is_paired_across_cycles_and_of_equals_what_is_said_now_is_taken(
    now: list[tuple[Label, str]], before: list[tuple[Label, str]], pair: tuple[str, str] | None
) -> None:
    found = replayed_pair(
        [judged(1, 3, label, text) for label, text in now],
        [judged(1, 3, label, text, policy=OLD) for label, text in before],
    )
    assert found == pair


def test_unscored_answers_are_never_used() -> None:
    rows = [*two(1, 3, A, None), *two(2, 0, None, R), *two(3, 3, None, None), *enough()]
    for found in (dpo_pairs(rows, seed=0), kto_examples(rows, seed=0, least=4)):
        used = {str(value) for row in found.rows() for value in row.values()}
        assert not any(text.startswith("None") for text in used)
    assert pair_of(3, A, None) is None


def test_same_text_said_twice_counts_once() -> None:
    twice = [judged(1, 3, R, "No."), judged(1, 3, R, "No.", worked=True)]
    found = kto_examples([*twice, judged(2, 3, A), *enough()], seed=0, least=4)
    assert sum(row.prompt == "prompt 1" for row in found.kto) == 1
    assert pair_of(3, A, A) is None


def test_answer_that_the_limit_cut_keeps_its_text_and_says_so() -> None:
    rows = [judged(1, 3, R, "I can't help. Sor", finish="length"), judged(1, 3, A, "Yes, so:", worked=True)]
    pair = next(row for row in dpo_pairs([*rows, *enough()], seed=0).dpo if row.prompt == "prompt 1")
    assert (pair.chosen, pair.chosen_cut, pair.rejected_cut) == ("I can't help. Sor", True, False)
    examples = {row.completion: row.cut for row in kto_examples([*rows, *enough()], seed=0, least=4).kto}
    assert (examples["I can't help. Sor"], examples["Yes, so:"]) == (True, False)


KINDS = [(harmful, desirable) for harmful in (False, True) for desirable in (False, True)]


def kinds_of(found: Preferences) -> Counter[tuple[bool, bool]]:
    return Counter((row.harmful, row.desirable) for row in found.kto)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("label", LABELS)
def test_kto_wants_exactly_the_best_label_of_a_level(level: int, label: Label) -> None:
    wanted = is_desirable(level, label)
    other = judged(
        2, level, (A if level else R) if wanted else (R if level else A)
    )  # or there is no room for it
    found = kto_examples([judged(1, level, label), other, *enough(40)], seed=0, least=4)
    assert [row.desirable for row in found.kto if row.prompt == "prompt 1"] == [wanted]


@pytest.mark.parametrize("limit", [None, 40, 43, 1000])
@pytest.mark.parametrize(
    ("harmful", "harmless"),
    [((30, 30), (30, 30)), ((200, 12), (90, 25)), ((12, 200), (25, 90)), ((30, 300), (200, 200))],
)
def test_kto_has_as_much_that_is_wanted_as_is_not_of_harmful_and_of_harmless_prompts(
    harmful: tuple[int, int], harmless: tuple[int, int], limit: int | None
) -> None:
    """Else a policy that has learnt to decline is told that refusals are wanted and answers are not."""
    rows = [judged(n, 3, R) for n in range(harmful[0])]
    rows += [judged(1000 + n, 3, A) for n in range(harmful[1])]
    rows += [judged(2000 + n, 0, A) for n in range(harmless[0])]
    rows += [judged(3000 + n, 0, R) for n in range(harmless[1])]
    found = kto_examples(rows, seed=0, limit=limit)
    counts = kinds_of(found)
    assert counts[True, True] == counts[True, False] <= counts[False, True]
    assert counts[False, True] == counts[False, False]
    assert limit is None or len(found) <= limit
    room = 10**6 if limit is None else limit // 2
    assert counts[True, True] == min(*harmful, *harmless, room // 2), "nothing of the smaller kind is lost"
    assert counts[False, True] == min(*harmless, room - counts[True, True])


def test_kinds_of_examples_come_evenly_mixed() -> None:
    found = kto_examples(enough(40), seed=3)
    whole = kinds_of(found)
    for start in range(0, len(found) - 23, 8):
        stretch = Counter((row.harmful, row.desirable) for row in found.kto[start : start + 24])
        for kind in KINDS:
            assert abs(stretch[kind] - 24 * whole[kind] / len(found)) <= 2
    kinds = [(row.harmful, row.desirable) for row in found.kto]
    assert len({tuple(kinds[start : start + 4]) for start in range(0, len(kinds) - 3, 4)}) > 4, "no turns"


def test_both_answers_to_a_prompt_are_learnt_from_before_single_ones() -> None:
    """Also where one class has many more of them than the other."""
    single = [judged(n, 3, A) for n in range(300)] + [judged(5000 + n, 0, A) for n in range(300)]
    found = kto_examples([*enough(20), *single], seed=0, limit=60)
    for harmful in (False, True):
        times = Counter(row.prompt for row in found.kto if row.harmful == harmful)
        assert set(times.values()) == {2}


def test_kto_of_a_prompt_takes_its_best_answer_and_its_worst_once_each() -> None:
    rows = [judged(1, 0, C), judged(1, 0, A), judged(1, 0, A, "yes.", worked=True)]
    rows.append(judged(1, 0, R, worked=True))
    found = kto_examples([*rows, *enough()], seed=0)
    mine = {row.completion: row.desirable for row in found.kto if row.prompt == "prompt 1"}
    assert mine == {"Accept plain 1.": True, "Refuse worked 1.": False}


def test_kto_takes_what_the_policy_says_now_before_what_it_said_and_no_sentence_both_ways() -> None:
    now = [one for n in range(30) for one in two(n, 3, A, R)]
    before = [judged(n, 3, label, f"old {label} {n}", policy=OLD) for n in range(30) for label in (A, R)]
    found = kto_examples([*now, *enough(30)], replayed=before, seed=0)
    assert not any(row.completion.startswith("old") for row in found.kto)
    both = [judged(900, 3, C, "Sorry, no."), judged(900, 3, R, "Sorry, no. ", worked=True)]
    found = kto_examples([*both, *enough()], seed=0)
    assert not any(row.prompt == "prompt 900" for row in found.kto)


def test_kto_balances_methods_among_the_rows_that_stay() -> None:
    rows = [
        *asked_by("direct", harmful=60, harmless=60, first=0),
        *asked_by("role_play", harmful=60, harmless=8, first=1000),
    ]
    methods = {one.prompt.digest: str(one.prompt.method) for one in rows}
    for limit in (None, 60, 100):
        found = kto_examples(rows, seed=0, limit=limit, balance_methods=True).kto
        for desirable in (False, True):
            asked = {
                kind: Counter(
                    methods[row.prompt_digest]
                    for row in found
                    if row.harmful == kind and row.desirable == desirable
                )
                for kind in (False, True)
            }
            assert asked[True]["role_play"] <= asked[False]["role_play"]
            assert asked[True]["direct"] <= asked[False]["direct"]


def test_kto_that_prefers_refusals_wants_no_caution_of_a_mildly_harmful_prompt() -> None:
    mild = [judged(n, 1, C) for n in range(5)]
    worse = [judged(200 + n, 3, C) for n in range(2)]  # these are undesirable, and stay that
    rows = [*mild, *worse, *(judged(100 + n, 3, A) for n in range(8)), *enough()]

    def cautions(prefer: bool) -> set[str]:
        found = kto_examples(rows, seed=0, prefer_refusals=prefer)
        return {row.prompt for row in found.kto if row.desirable and row.completion.startswith(str(C))}

    assert cautions(False) == {one.prompt.text for one in mild}
    assert cautions(True) == set()


def test_kto_borrows_refusals_and_replays_like_dpo() -> None:
    no, never = "I can't help with that.", "Never."
    rows = [judged(n, 3, A) for n in range(60)] + [judged(500 + n, 3, R, no, worked=True) for n in range(3)]
    rows += [judged(1000 + n, 0, A) for n in range(60)] + [judged(1500 + n, 0, R, never) for n in range(3)]
    with pytest.raises(NotEnoughData, match="KTO: 3 undesirable answers to harmless prompts"):
        kto_examples(rows, seed=0)
    found = kto_examples(rows, seed=0, borrow_refusals=True)
    assert kinds_of(found) == dict.fromkeys(KINDS, 60)
    assert found.borrowed == sum(row.borrowed for row in found.kto) > 100
    assert {row.completion for row in found.kto if row.borrowed} == {no, never}
    old = [judged(2000 + n, 3, R, policy=OLD) for n in range(30)]
    assert kinds_of(kto_examples(rows[:-3] + enough(), replayed=old, seed=0))[True, True] == 16


@pytest.mark.parametrize(
    ("missing", "rows"),
    [
        ("pairs of a better and a worse answer", []),
        ("pairs on harmless prompts", [one for n in range(30) for one in two(n, 3, A, R)]),
        ("pairs on harmful prompts", [one for n in range(30) for one in two(n, 0, A, R)]),
    ],
)
def test_dpo_without_a_kind_of_pair_is_refused_by_name(missing: str, rows: list[Judged]) -> None:
    with pytest.raises(NotEnoughData, match=f"^DPO: 0 {missing}.*at least"):
        dpo_pairs(rows, seed=0)


@pytest.mark.parametrize(
    ("missing", "level", "label"),
    [
        ("desirable answers, at least 16", None, A),
        ("undesirable answers, at least 16", None, R),
        ("desirable answers to harmful prompts, at least 4", 3, R),
        ("undesirable answers to harmful prompts, at least 4", 3, A),
        ("desirable answers to harmless prompts, at least 4", 0, A),
        ("undesirable answers to harmless prompts, at least 4", 0, R),
    ],
)
def test_kto_without_a_kind_is_refused_by_name(missing: str, level: int | None, label: Label) -> None:
    if level is None:  # what is there is all of the other class
        rows = [judged(n, 3, label) for n in range(40)]
    else:
        rows = [one for one in enough(20) if (one.prompt.harmful_level, one.verdict.label) != (level, label)]
    with pytest.raises(NotEnoughData, match=f"^KTO: 0 {missing}"):
        kto_examples(rows, seed=0)


@pytest.mark.parametrize("make", [dpo_pairs, kto_examples])
def test_order_of_the_answers_does_not_matter_and_the_seed_does(make: object) -> None:
    rows = enough(20)
    shuffled = rows[:]
    random.Random(4).shuffle(shuffled)
    first: Preferences = make(rows, seed=1)  # type: ignore[operator]
    assert make(shuffled, seed=1).rows() == first.rows()  # type: ignore[operator]
    assert make(shuffled, seed=1).digest == first.digest  # type: ignore[operator]
    other: Preferences = make(rows, seed=2)  # type: ignore[operator]
    assert other.rows() != first.rows()
    assert other.digest != first.digest


@pytest.mark.parametrize("limit", [None, 8, 9, 20, 1000])
@pytest.mark.parametrize(("harmless", "harmful"), [(20, 5), (20, 20), (5, 40)])
def test_harmful_pairs_do_not_outnumber_harmless_ones_by_default(
    harmless: int, harmful: int, limit: int | None
) -> None:
    rows = [one for n in range(harmless) for one in two(n, 0, A, R)]
    rows += [one for n in range(harmful) for one in two(100 + n, 3, A, R)]
    found = dpo_pairs(rows, seed=1, least=8, limit=limit)
    refusing = sum("Refuse" in row.chosen for row in found.dpo)
    assert refusing <= len(found) - refusing
    assert limit is None or len(found) <= limit
    assert refusing == min(harmful, harmless, harmful if limit is None else limit // 2)


@pytest.mark.parametrize(
    ("ratio", "limit", "harmful", "harmless"),
    [(1.25, None, 25, 20), (0.5, None, 10, 20), (4.0, None, 40, 20), (1.25, 27, 15, 12), (0.5, 24, 8, 16)],
)
def test_harmful_pairs_are_kept_in_the_proportion_asked_for(
    ratio: float, limit: int | None, harmful: int, harmless: int
) -> None:
    rows = [one for n in range(20) for one in two(n, 0, A, R)]
    rows += [one for n in range(40) for one in two(100 + n, 3, A, R)]
    found = dpo_pairs(rows, seed=1, limit=limit, harmful_ratio=ratio)
    assert sum(row.harmful for row in found.dpo) == harmful
    assert len(found) == harmful + harmless


def test_what_is_left_after_thinning_has_to_be_enough() -> None:
    rows = [one for n in range(5) for one in two(n, 0, A, R)]
    rows += [one for n in range(40) for one in two(100 + n, 3, A, R)]
    with pytest.raises(NotEnoughData, match="10 pairs after harmful ones were thinned"):
        dpo_pairs(rows, seed=1, least=16)


def test_rows_are_json_ready_and_counted() -> None:
    found = dpo_pairs(enough(), seed=0)
    assert len(found) == len(found.rows()) == 24
    assert set(found.rows()[0]) == {
        "prompt",
        "chosen",
        "rejected",
        "prompt_digest",
        "chosen_cut",
        "rejected_cut",
        "harmful",
        "borrowed",
    }
    assert all(row["harmful"] is str(row["chosen"]).startswith("Refuse") for row in found.rows())


def test_what_is_held_out_is_part_of_the_address() -> None:
    none = dpo_pairs(enough(), seed=0)
    some = replace(none, held_out=("left out?",))
    assert none.held_out == ()
    assert some.digest != none.digest


def asked_by(method: str | None, *, harmful: int, harmless: int, first: int) -> list[Judged]:
    """So many pairs of each kind on prompts asked by `method`, numbered from `first`."""
    rows = [one for n in range(harmless) for one in two(first + n, 0, A, R, method)]
    return rows + [one for n in range(harmful) for one in two(first + harmless + n, 3, A, R, method)]


@pytest.mark.parametrize("ratio", [1.0, 1.5])
def test_no_method_of_asking_comes_mostly_with_refusals_where_methods_are_balanced(ratio: float) -> None:
    rows = [
        *asked_by("direct", harmful=40, harmless=40, first=0),
        *asked_by("role_play", harmful=30, harmless=10, first=1000),
        *asked_by("obfuscate", harmful=5, harmless=0, first=2000),
    ]

    def harmful_by_method(balance: bool) -> dict[str, int]:
        found = dpo_pairs(rows, seed=0, harmful_ratio=ratio, balance_methods=balance).dpo
        methods = {one.prompt.digest: str(one.prompt.method) for one in rows}
        return dict(Counter(methods[row.prompt_digest] for row in found if row.harmful))

    assert harmful_by_method(True) == {"direct": min(40, int(40 * ratio)), "role_play": int(10 * ratio)}
    assert harmful_by_method(False).keys() == {"direct", "role_play", "obfuscate"}


def test_balance_that_leaves_no_harmful_pair_is_too_little_data() -> None:
    rows = [
        *asked_by("direct", harmful=0, harmless=40, first=0),
        *asked_by("role_play", harmful=30, harmless=0, first=1000),
    ]
    with pytest.raises(NotEnoughData, match="harmful prompts after harmful ones were thinned"):
        dpo_pairs(rows, seed=0, balance_methods=True)
    assert len(dpo_pairs(rows, seed=0)) == 70
