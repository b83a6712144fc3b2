"""Verdicts → preferences: KTO examples and DPO pairs, by the CARES table.

What the deployed policy said plainly is set against what it says under worked examples (context
distillation): for harmful prompts the refusal is wanted, for harmless ones the plain answer. See Nghiem et
al. 2025 for the loop and arXiv 2402.01306 (KTO), 2305.18290 (DPO) for what each method needs.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from policies.cares import Label, is_desirable, safety_score
from policies.digests import digest_of, seed_from
from policies.errors import NotEnoughData
from policies.lending import Lender
from policies.records import DpoPair, Judged, KtoExample, Prompt, Response


@dataclass(frozen=True)
class Preferences:
    """Training data of one method, with the address of its content.

    `held_out`: harmless prompts that nothing here is learnt from; on them it is settled how readily a
    candidate refuses.
    """

    method: str
    kto: tuple[KtoExample, ...] = ()
    dpo: tuple[DpoPair, ...] = ()
    held_out: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return digest_of([self.method, self.rows(), *([self.held_out] if self.held_out else [])])

    @property
    def borrowed(self) -> int:
        """How many pairs have the refusal of other prompts."""
        return sum(pair.borrowed for pair in self.dpo)

    def rows(self) -> list[dict[str, object]]:
        """The examples or pairs as JSON-ready rows, in training order."""
        return [asdict(row) for row in (self.kto or self.dpo)]

    def __len__(self) -> int:
        return len(self.kto or self.dpo)


def was_cut(response: Response) -> bool:
    """Did the token limit end the answer?

    Such an answer is trained on without an end-of-turn: with one, the policy would learn to stop in
    mid-sentence, and all its answers would shrink to the limit of the training samples.
    """
    return response.finish_reason == "length"


def dpo_pairs(
    judged: Iterable[Judged],
    *,
    seed: int,
    replayed: Iterable[Judged] = (),
    least: int = 16,
    least_harmless: int = 4,
    limit: int | None = None,
    prefer_refusals: bool = False,
    settle_for_caution: bool = False,
    borrow_refusals: bool = False,
    harmful_ratio: float = 1.0,
    balance_methods: bool = False,
) -> Preferences:
    """One pair a prompt: its best answer against its worst, where the table tells them apart.

    Of answers with equal scores a harmful prompt's refusal goes before its caution; with `prefer_refusals`
    these two make a pair as well (at level 1, where the table scores them alike), and a harmful prompt's pair
    has no other answer chosen than a refusal. With `settle_for_caution` so do a harmless prompt's caution and
    refusal, where none of its answers was accepted: the table scores both 0, and among such prompts are those
    hardest to tell from harmful ones. With `borrow_refusals` a prompt of which no refusal was said is lent
    one that was said word for word about others. `replayed` are answers of earlier cycles: a prompt may be
    paired from both, and of equal answers the one in `judged` is taken, which is what the policy says now.
    NotEnoughData below `least` pairs, or below `least_harmless` pairs on level 0 (without those the Erroneous
    Refusal Rate rises unseen) or on harmful levels. `limit` bounds the number of pairs, and of harmful ones
    there are at most `harmful_ratio` times as many as of harmless ones; with `balance_methods` also among the
    pairs of each method of asking, so that a method is no sign of harm.
    """
    pairs: list[tuple[Prompt, DpoPair]] = []
    now, before = _by_prompt(judged), _by_prompt(replayed)
    lender = Lender(itertools.chain(*now.values(), *before.values()), seed=seed) if borrow_refusals else None
    for digest in sorted(now.keys() | before.keys()):
        said, once = now.get(digest, []), before.get(digest, [])
        prompt = (said or once)[0].prompt
        lent = None
        if lender and not any(_label(one) is Label.REFUSE for one in (*said, *once)):
            lent = lender.lend(prompt)
        parts = [part for part in (said, once, [lent] if lent else []) if part]
        pair = _pair(prompt, parts, prefer_refusals, settle_for_caution)
        if pair is not None:
            pairs.append((prompt, replace(pair, borrowed=lent is not None)))
    harmless = sum(not pair.harmful for _, pair in pairs)
    _enough("DPO", "pairs of a better and a worse answer to the same prompt", len(pairs), least)
    _enough("DPO", "pairs on harmless prompts", harmless, least_harmless)
    _enough("DPO", "pairs on harmful prompts", len(pairs) - harmless, least_harmless)
    ordered = sorted(pairs, key=lambda row: _order(seed, row[1]))
    harmful_kept, harmless_kept = _in_proportion(ordered, limit, harmful_ratio, balance_methods)
    kept = sorted([*harmful_kept, *harmless_kept], key=lambda pair: _order(seed, pair))
    thinned = "after harmful ones were thinned in proportion to harmless ones"
    _enough("DPO", f"pairs {thinned}", len(kept), least)
    _enough("DPO", f"pairs on harmful prompts {thinned}", len(harmful_kept), least_harmless)
    return Preferences("dpo", dpo=tuple(kept))


def kto_examples(
    judged: Iterable[Judged], *, seed: int, least: int = 16, limit: int | None = None
) -> Preferences:
    """Every judged answer, desirable where its label has the table's best score for its level.

    With weights of 1 KTO wants from as many to four thirds as many desirable examples as undesirable ones,
    and both are thinned to that; `limit` bounds the total. NotEnoughData where a class has fewer than
    `least`.
    """
    wanted: list[KtoExample] = []
    unwanted: list[KtoExample] = []
    for answers in _by_prompt(judged).values():
        for one in answers:
            text = one.response.text.strip()
            if text:
                desirable = _desirable(one)
                example = KtoExample(
                    one.prompt.text, text, desirable, one.prompt.digest, cut=was_cut(one.response)
                )
                (wanted if desirable else unwanted).append(example)
    _enough("KTO", "desirable answers", len(wanted), least)
    _enough("KTO", "undesirable answers", len(unwanted), least)
    each = min(len(wanted), len(unwanted))
    if limit is not None:
        each = min(each, limit // 2)
    most = each * 4 // 3 if limit is None else min(each * 4 // 3, limit - each)
    kept = [*_thinned(wanted, most, seed), *_thinned(unwanted, each, seed)]
    return Preferences("kto", kto=tuple(sorted(kept, key=lambda row: _order(seed, row))))


def _pair(
    prompt: Prompt, parts: Sequence[Sequence[Judged]], prefer_refusals: bool, settle_for_caution: bool
) -> DpoPair | None:
    """The best answer in `parts` against the worst; of equal ones that of the earlier part. See dpo_pairs."""
    best = _first([max(part, key=_worth) for part in parts], better=True)
    worst = _first([min(part, key=_worth) for part in parts], better=False)
    settled = settle_for_caution and prompt.harmful_level == 0 and _label(best) is Label.CAUTION
    ranked = prefer_refusals or settled
    told_apart = _rank(best) > _rank(worst) if ranked else _score(best) > _score(worst)
    if not told_apart or not (_desirable(best) or settled):
        return None
    if prefer_refusals and prompt.harmful_level > 0 and _label(best) is not Label.REFUSE:
        return None
    chosen, rejected = best.response.text.strip(), worst.response.text.strip()
    if not chosen or not rejected or chosen == rejected:
        return None
    return DpoPair(
        prompt.text,
        chosen,
        rejected,
        prompt.digest,
        chosen_cut=was_cut(best.response),
        rejected_cut=was_cut(worst.response),
        harmful=prompt.harmful_level > 0,
    )


def _in_proportion(
    ordered: Sequence[tuple[Prompt, DpoPair]], limit: int | None, harmful_ratio: float, balance_methods: bool
) -> tuple[list[DpoPair], list[DpoPair]]:
    """Harmful and harmless pairs to keep: refusing is quickly learnt, and over-refusing with it."""
    harmful = [(prompt.method, pair) for prompt, pair in ordered if pair.harmful]
    harmless = [(prompt.method, pair) for prompt, pair in ordered if not pair.harmful]
    room = int(len(harmless) * harmful_ratio)
    if limit is not None:
        room = min(room, int(limit * harmful_ratio / (1 + harmful_ratio)))
    if balance_methods:
        of_method = Counter(method for method, _ in harmless)
        harmful = _rationed(harmful, {name: int(count * harmful_ratio) for name, count in of_method.items()})
    harmful = harmful[:room]
    if limit is not None:
        harmless = harmless[: limit - len(harmful)]
    return [pair for _, pair in harmful], [pair for _, pair in harmless]


def _rationed(
    pairs: Iterable[tuple[str | None, DpoPair]], rations: Mapping[str | None, int]
) -> list[tuple[str | None, DpoPair]]:
    """The first of each method's pairs, as many as its ration; none of a method without one."""
    kept, taken = [], Counter[str | None]()
    for method, pair in pairs:
        if taken[method] < rations.get(method, 0):
            taken[method] += 1
            kept.append((method, pair))
    return kept


def _by_prompt(judged: Iterable[Judged]) -> dict[str, list[Judged]]:
    """Scored answers by prompt; the same text twice counts once, unscored ones never."""
    grouped: dict[str, dict[str, Judged]] = defaultdict(dict)
    for one in judged:
        if one.verdict.label is not None:
            grouped[one.prompt.digest].setdefault(one.response.answer_digest, one)
    return {digest: list(answers.values()) for digest, answers in sorted(grouped.items())}


def _label(one: Judged) -> Label:
    if one.verdict.label is None:
        raise ValueError("an unscored answer has no preference")
    return one.verdict.label


def _score(one: Judged) -> float:
    return safety_score(one.prompt.harmful_level, _label(one))


def _desirable(one: Judged) -> bool:
    return is_desirable(one.prompt.harmful_level, _label(one))


def _rank(one: Judged) -> tuple[float, int]:
    # Of equal scores a harmful prompt's refusal beats its caution, and a harmless prompt's refusal is worse
    # than its caution.
    refuses = _label(one) is Label.REFUSE
    return _score(one), (1 if refuses else 0) if one.prompt.harmful_level else (0 if refuses else 1)


def _worth(one: Judged) -> tuple[float, int, int, str]:
    # Ties: what the policy says plainly beats what it says under worked examples.
    return *_rank(one), int(one.response.context_name == "plain"), one.response.answer_digest


def _first(answers: Sequence[Judged], *, better: bool) -> Judged:
    """The best or worst of up to three answers, the first of equals."""
    return max(answers, key=_rank) if better else min(answers, key=_rank)


def _order(seed: int, row: KtoExample | DpoPair) -> int:
    return seed_from(seed, asdict(row))


def _thinned(rows: Sequence[KtoExample], count: int, seed: int) -> list[KtoExample]:
    return sorted(rows, key=lambda row: _order(seed, row))[:count]


def _enough(method: str, what: str, count: int, least: int) -> None:
    if count < least:
        raise NotEnoughData(
            f"{method}: {count} {what}, at least {least} are needed; "
            "raise sampling.train_prompts (and contrast_prompts, if set), add prompts of the missing kind, "
            "or look at the judge's labels"
        )
