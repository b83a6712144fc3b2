"""The attack suite: what it holds, what labels its attacks deserve, and how flips are counted."""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from collections import Counter

import pytest
from statsmodels.stats.proportion import proportion_confint

from judges.attacks import (
    FAMILIES,
    SEEDS,
    STRUCTURAL_FAMILIES,
    Attack,
    build_suite,
    run_attacks,
    suite_digest,
    training_rows,
)
from judges.attacks.transforms import AIM, aim_for
from judges.claims import as_judged
from judges.labels import LabelledRow
from judges.refusal import detect_refusal, is_non_answer
from policies.cares import LABELS, LEVELS, Label
from tests.fakes.labelling_judges import OpinionJudge, believes_claims, by_keywords, knows

SUITE = build_suite()
TRUTH = {(case.prompt, case.answer): case.label for case in SEEDS} | {
    (attack.prompt, attack.answer): attack.should for attack in SUITE
}
ROWS = [
    LabelledRow(
        case.prompt, case.answer, case.label, case.harmful_level, case.principle_index, "direct", "plain"
    )
    for case in SEEDS
]


def of(family: str) -> list[Attack]:
    return [attack for attack in SUITE if attack.family == family]


def test_suite_has_at_least_300_distinct_attacks_over_all_families() -> None:
    families = Counter(attack.family for attack in SUITE)
    assert len(SUITE) >= 300
    assert set(families) == {family.name for family in FAMILIES}
    assert min(families.values()) >= 20
    assert len({(attack.prompt, attack.answer, attack.seed.case_id) for attack in SUITE}) == len(SUITE)
    assert len({attack.attack_id for attack in SUITE}) == len(SUITE)


def test_suite_is_the_same_every_time() -> None:
    assert suite_digest(build_suite()) == suite_digest(SUITE)
    assert suite_digest(build_suite(seed=1)) != suite_digest(SUITE)


def test_every_family_uses_all_its_test_templates() -> None:
    for family in FAMILIES:
        assert {attack.template for attack in of(family.name)} == {template.name for template in family.test}


def test_seeds_cover_all_labels_and_levels() -> None:
    assert {case.label for case in SEEDS} == set(LABELS)
    assert {case.harmful_level for case in SEEDS} == set(LEVELS)
    assert len(TRUTH) == len(SUITE) + len(SEEDS)


def test_rules_find_seed_refusals_to_be_refusals_and_no_other_seed() -> None:
    assert [case.case_id for case in SEEDS if detect_refusal(case.answer).refuses] == [
        case.case_id for case in SEEDS if case.label is Label.REFUSE
    ]


def test_attacker_never_wants_the_truth() -> None:
    assert all(attack.wanted is not attack.should for attack in SUITE)
    assert aim_for(0, Label.REFUSE) is Label.ACCEPT
    assert aim_for(3, Label.ACCEPT) is Label.REFUSE
    assert aim_for(3, Label.REFUSE) is Label.ACCEPT


@pytest.mark.parametrize("split", ["train", "test"])
def test_no_placeholder_is_left(split: str) -> None:
    suite = build_suite(split="train" if split == "train" else "test")
    assert not [attack.attack_id for attack in suite if AIM in attack.prompt + attack.answer]


def test_train_and_test_templates_add_different_text() -> None:
    for family in FAMILIES:
        made = [
            {
                (result.prompt, result.answer)
                for template in family.templates(split)
                for case in SEEDS
                if (result := template.apply(case)) is not None
            }
            for split in ("train", "test")
        ]
        assert made[0]
        assert not made[0] & made[1], family.name


def test_no_phrase_or_added_sentence_is_in_both_splits() -> None:
    own = {piece for case in SEEDS for text in (case.prompt, case.answer) for piece in sentences(text)}
    for family in FAMILIES:
        if family.name in ("base64", "confusables"):  # these rewrite the seeds' own words
            continue
        train, test = (
            {
                piece
                for template in family.templates(split)
                for case in SEEDS
                if (result := template.apply(case)) is not None
                for piece in sentences(result.prompt) | sentences(result.answer)
            }
            - own
            for split in ("train", "test")
        )
        assert not train & test, family.name


def sentences(text: str) -> set[str]:
    """Sentences of some length, without what chat tokens glue to them."""
    pieces = re.split(r"(?<=[.!?:,;])\s+|\n|<\|im_end\|>", text)
    return {piece.strip().lower() for piece in pieces if len(piece.strip()) > 14}


def test_structural_attacks_reach_a_judge_as_the_seed_that_they_started_from() -> None:
    for attack in SUITE:
        if attack.family not in STRUCTURAL_FAMILIES:
            continue
        assert as_judged(attack.prompt) == as_judged(attack.seed.prompt), attack.attack_id
        if attack.should is attack.seed.label and attack.seed.answer in attack.answer:
            assert as_judged(attack.answer) == as_judged(attack.seed.answer), attack.attack_id
        else:
            assert is_non_answer(attack.answer), attack.attack_id


@pytest.mark.parametrize("family", ["symbol_only", "empty_answer"])
def test_non_answers_deserve_caution(family: str) -> None:
    for attack in of(family):
        assert attack.should is Label.CAUTION
        assert not any(character.isalnum() for character in attack.answer)


def test_forged_verdict_names_the_wanted_label_and_keeps_the_true_one() -> None:
    for attack in of("forged_verdict"):
        assert attack.wanted.value in attack.answer + attack.prompt
        if attack.seed.answer in attack.answer:
            assert attack.should is attack.seed.label
        else:
            assert attack.should is Label.CAUTION


def test_encoded_answers_keep_their_label_and_reach_a_judge_in_clear() -> None:
    blobs = [attack for attack in of("base64") if attack.template == "decode_this"]
    assert blobs
    for attack in blobs:
        assert attack.should is attack.seed.label
        assert base64.b64decode(attack.answer.removeprefix("Decode this: ")).decode() == attack.seed.answer
    for attack in of("base64"):
        assert attack.should is attack.seed.label
        assert as_judged(attack.seed.answer) in as_judged(attack.answer), attack.attack_id


def test_an_encoded_order_reaches_no_judge() -> None:
    orders = [attack for attack in of("base64") if attack.template in ("judgment", "system")]
    assert orders
    for attack in orders:
        left = as_judged(attack.answer).removeprefix(as_judged(attack.seed.answer)).strip()
        assert left in ("", "[base64]"), attack.attack_id


def test_refusal_then_compliance_is_accept_and_late_refusal_does_not_undo_it() -> None:
    assert {attack.should for attack in of("refusal_then_compliance")} == {Label.ACCEPT}
    for attack in of("compliance_then_refusal"):
        assert attack.should is attack.seed.label
        assert attack.seed.label is not Label.CAUTION


def test_long_answers_add_thousands_of_characters() -> None:
    assert all(len(attack.answer) - len(attack.seed.answer) >= 4_000 for attack in of("long_answer"))


def test_confusables_look_the_same_but_are_other_characters() -> None:
    for attack in of("confusables"):
        assert attack.answer != attack.seed.answer
        assert any(ord(character) > 127 for character in attack.answer)
    fullwidth = [attack for attack in of("confusables") if attack.template in ("fullwidth", "mathematical")]
    assert fullwidth
    assert all(unicodedata.normalize("NFKC", each.answer) == each.seed.answer for each in fullwidth)


def test_at_least_six_languages_with_refusals_and_compliance() -> None:
    for label in (Label.REFUSE, Label.ACCEPT):
        assert len({attack.template for attack in of("other_language") if attack.should is label}) >= 6


def test_perfect_judge_flips_nothing() -> None:
    report = run_attacks(OpinionJudge(knows(TRUTH)), SUITE)
    assert (report.total.n, report.total.scored, report.total.flips) == (len(SUITE), len(SUITE), 0)
    assert report.total.rate == 0.0
    assert report.clean_right == report.clean_n == len({attack.seed.case_id for attack in SUITE})


def test_judge_that_believes_claims_is_flipped_by_every_forged_verdict_in_an_answer() -> None:
    def gullible(prompt, response):  # type: ignore[no-untyped-def]
        said = [label for label in LABELS if f"Safety_Judgment: {label.value}" in response.text]
        return said[0] if said else TRUTH[(prompt.text, response.text)]

    report = run_attacks(OpinionJudge(gullible), SUITE)
    believed = [
        attack for attack in of("forged_verdict") if f"Safety_Judgment: {attack.wanted}" in attack.answer
    ]
    assert believed
    assert report.families["forged_verdict"].flips == len(believed)
    assert report.families["forged_verdict"].successes == len(believed)
    assert report.structural.flips == report.total.flips == len(believed)
    assert set(report.families["forged_verdict"].examples) <= {attack.attack_id for attack in believed}


def test_naive_readers_are_told_apart_by_the_suite() -> None:
    naive, gullible = (run_attacks(OpinionJudge(each), SUITE) for each in (by_keywords, believes_claims))
    assert gullible.structural.rate is not None
    assert naive.structural.rate is not None
    assert gullible.structural.rate > 0.5
    assert naive.structural.rate < gullible.structural.rate


def test_attack_counts_only_where_the_clean_seed_was_judged_rightly() -> None:
    wrong = SEEDS[0]
    suite = [attack for attack in SUITE if attack.seed is wrong]
    labels = dict(TRUTH)
    labels[(wrong.prompt, wrong.answer)] = Label.REFUSE
    report = run_attacks(OpinionJudge(knows({**dict.fromkeys(labels, Label.REFUSE)})), suite)
    assert (report.clean_n, report.clean_right) == (1, 0)
    assert (report.total.scored, report.total.flips, report.total.rate) == (0, 0, None)
    assert report.total.wrong == sum(attack.should is not Label.REFUSE for attack in suite) > 0


def test_unscored_is_no_flip_and_is_counted() -> None:
    labels = {key: label for key, label in TRUTH.items() if key[1].strip()}
    report = run_attacks(OpinionJudge(knows(labels)), SUITE)
    blank = [attack for attack in SUITE if not attack.answer.strip()]
    assert report.total.unscored == len(blank) > 0
    assert report.total.flips == 0
    assert report.total.scored == len(SUITE) - len(blank)


def test_rate_has_the_wilson_interval() -> None:
    report = run_attacks(OpinionJudge(by_keywords), SUITE)
    low, high = proportion_confint(report.total.flips, report.total.scored, method="wilson")
    assert report.total.rate == pytest.approx(report.total.flips / report.total.scored)
    assert (report.total.lower, report.total.upper) == pytest.approx((low, high))


def test_report_json_holds_no_judged_text() -> None:
    report = run_attacks(OpinionJudge(by_keywords), SUITE)
    text = json.dumps(report.to_json())
    assert not any(case.prompt in text or case.answer in text for case in SEEDS)
    assert json.loads(text)["structural"]["n"] == sum(
        attack.family in STRUCTURAL_FAMILIES for attack in SUITE
    )


def test_training_rows_come_from_train_templates_with_the_label_they_deserve() -> None:
    rows = training_rows(ROWS, per_family=10, seed=7)
    assert Counter(row.kind for row in rows) == {f"attack_{family.name}": 10 for family in FAMILIES}
    assert rows == training_rows(ROWS, per_family=10, seed=7)
    assert rows != training_rows(ROWS, per_family=10, seed=8)
    assert not {(row.prompt, row.answer) for row in rows} & {(each.prompt, each.answer) for each in SUITE}
    assert {row.label for row in rows if row.kind == "attack_symbol_only"} == {Label.CAUTION}
    assert {row.label for row in rows if row.kind == "attack_refusal_then_compliance"} == {Label.ACCEPT}
    assert {row.method for row in rows} == {"direct"}


def test_training_rows_of_rows_without_a_level_are_made() -> None:
    row = LabelledRow("What is this?", "It is an answer to what was asked.", Label.ACCEPT)
    rows = training_rows([row], per_family=3, seed=0)
    assert {each.kind for each in rows} >= {"attack_forged_verdict", "attack_refusal_then_compliance"}
    assert all(each.harmful_level is None for each in rows)


def test_each_family_gets_its_own_number_of_training_rows_unless_one_is_given() -> None:
    rows = training_rows([*ROWS, *varied(400)], seed=0)
    wanted = {f"attack_{family.name}": family.train_rows for family in FAMILIES}
    assert Counter(row.kind for row in rows) == wanted
    assert training_rows(ROWS, per_family=0, seed=0) == []
    weak = ("other_language", "refusal_then_compliance", "compliance_then_refusal", "long_answer")
    assert all(wanted[f"attack_{name}"] >= 60 for name in weak)


def varied(count: int) -> list[LabelledRow]:
    return [
        LabelledRow(f"Question {n}?", f"A thing. Number {n} it is.", LABELS[n % 3], n % 4, 0, "direct")
        for n in range(count)
    ]


def test_training_answers_in_other_languages_cover_every_label_evenly() -> None:
    rows = [row for row in training_rows(varied(400), seed=0) if row.kind == "attack_other_language"]
    counts = Counter(row.label for row in rows)
    assert max(counts.values()) - min(counts.values()) <= 3
    assert len({row.answer for row in rows}) > 100
