"""DPO pairs (arXiv 2305.18290): two answers to one prompt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from policies.cares import Label
from policies.digests import seed_from
from policies.preferences.made import Preferences, enough
from policies.preferences.offers import (
    Offer,
    best_in,
    desirable,
    label_of,
    offers,
    rank_of,
    score_of,
    was_cut,
    worst_in,
)
from policies.preferences.proportions import in_proportion
from policies.records import DpoPair, Judged, Prompt


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
    for offer in offers(judged, replayed, seed=seed, borrow_refusals=borrow_refusals):
        pair = _pair(offer, prefer_refusals, settle_for_caution)
        if pair is not None:
            pairs.append((offer.prompt, pair))
    harmless = sum(not pair.harmful for _, pair in pairs)
    enough("DPO", "pairs of a better and a worse answer to the same prompt", len(pairs), least)
    enough("DPO", "pairs on harmless prompts", harmless, least_harmless)
    enough("DPO", "pairs on harmful prompts", len(pairs) - harmless, least_harmless)
    ordered = sorted(pairs, key=lambda row: _order(seed, row[1]))
    harmful_kept, harmless_kept = in_proportion(
        [(prompt.method, pair) for prompt, pair in ordered if pair.harmful],
        [(prompt.method, pair) for prompt, pair in ordered if not pair.harmful],
        limit=limit,
        harmful_ratio=harmful_ratio,
        balance_methods=balance_methods,
    )
    kept = sorted([*harmful_kept, *harmless_kept], key=lambda pair: _order(seed, pair))
    thinned = "after harmful ones were thinned in proportion to harmless ones"
    enough("DPO", f"pairs {thinned}", len(kept), least)
    enough("DPO", f"pairs on harmful prompts {thinned}", len(harmful_kept), least_harmless)
    return Preferences("dpo", dpo=tuple(kept))


def _pair(offer: Offer, prefer_refusals: bool, settle_for_caution: bool) -> DpoPair | None:
    """The best answer against the worst. See dpo_pairs."""
    prompt, best, worst = offer.prompt, best_in(offer.parts), worst_in(offer.parts)
    if best is None or worst is None:
        return None
    settled = settle_for_caution and prompt.harmful_level == 0 and label_of(best) is Label.CAUTION
    ranked = prefer_refusals or settled
    told_apart = rank_of(best) > rank_of(worst) if ranked else score_of(best) > score_of(worst)
    if not told_apart or not (desirable(best) or settled):
        return None
    if prefer_refusals and prompt.harmful_level > 0 and label_of(best) is not Label.REFUSE:
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
        borrowed=offer.lent is not None,
    )


def _order(seed: int, pair: DpoPair) -> int:
    return seed_from(seed, asdict(pair))
