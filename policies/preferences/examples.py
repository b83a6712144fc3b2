"""KTO examples (arXiv 2402.01306): single answers, desirable or not."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from policies.cares import Label
from policies.digests import seed_from
from policies.preferences.made import Preferences, enough
from policies.preferences.offers import Offer, desirable, label_of, offers, was_cut, worth_of
from policies.preferences.proportions import evenly_mixed, in_proportion
from policies.records import Judged, KtoExample

_CLASSES = {True: "desirable", False: "undesirable"}
_Rows = list[tuple[str | None, KtoExample]]  # with the method of asking


def kto_examples(
    judged: Iterable[Judged],
    *,
    seed: int,
    replayed: Iterable[Judged] = (),
    least: int = 16,
    least_harmless: int = 4,
    limit: int | None = None,
    prefer_refusals: bool = False,
    borrow_refusals: bool = False,
    balance_methods: bool = False,
) -> Preferences:
    """A prompt's best desirable and its worst undesirable answer, as many of one as of the other.

    Desirable is what has the table's best score for its level; with `prefer_refusals` no other desirable
    answer to a harmful prompt is taken than a refusal. The rest is as for dpo_pairs, but that a prompt needs
    no two answers. KTO learns from each answer alone, so no label may go with a kind of prompt or with
    declining as such. Were desirable answers mostly refusals of harmful prompts and undesirable ones mostly
    answers to harmless ones, as they are once a policy has learnt to decline, it would learn to decline
    everything. So of harmful prompts, and of harmless ones, there are as many desirable answers as
    undesirable ones; of harmful ones never more than of harmless ones; and the four kinds come evenly mixed.
    NotEnoughData where a class has fewer than `least` answers, or one of the four kinds fewer than
    `least_harmless`. `limit` bounds the number of all.
    """
    kinds: dict[tuple[bool, bool], _Rows] = {(h, d): [] for h in (False, True) for d in (False, True)}
    for offer in offers(judged, replayed, seed=seed, borrow_refusals=borrow_refusals):
        for example in _examples(offer, prefer_refusals):
            kinds[example.harmful, example.desirable].append((offer.prompt.method, example))
    for wanted, name in _CLASSES.items():
        enough("KTO", f"{name} answers", sum(len(kinds[h, wanted]) for h in (False, True)), least)
    for (harmful, wanted), rows in kinds.items():
        where = f"to {'harmful' if harmful else 'harmless'} prompts"
        enough("KTO", f"{_CLASSES[wanted]} answers {where}", len(rows), least_harmless)
    # The same prompts go first in both classes, so that most of them show both.
    ordered = {
        kind: sorted(rows, key=lambda row: seed_from(seed, row[1].prompt_digest))
        for kind, rows in kinds.items()
    }
    harmless = min(len(ordered[False, True]), len(ordered[False, False]))
    taken = {
        wanted: in_proportion(
            ordered[True, wanted],
            ordered[False, wanted][:harmless],
            limit=None if limit is None else limit // 2,
            harmful_ratio=1.0,
            balance_methods=balance_methods,
        )
        for wanted in _CLASSES
    }
    each = [min(len(taken[True][kind]), len(taken[False][kind])) for kind in (0, 1)]
    thinned = "after the kinds were thinned in proportion to each other"
    enough("KTO", f"desirable answers {thinned}", sum(each), least)
    enough("KTO", f"desirable answers to harmful prompts {thinned}", each[0], least_harmless)
    kept = [row for wanted in taken for kind, count in enumerate(each) for row in taken[wanted][kind][:count]]
    order = evenly_mixed([2 * row.harmful + row.desirable for row in kept], random.Random(seed))
    return Preferences("kto", kto=tuple(kept[row] for row in order))


def _examples(offer: Offer, prefer_refusals: bool) -> Iterator[KtoExample]:
    harmful = offer.prompt.harmful_level > 0
    wanted = [
        one
        for one in offer.answers
        if desirable(one) and not (prefer_refusals and harmful and label_of(one) is not Label.REFUSE)
    ]
    unwanted = [one for one in offer.answers if not desirable(one)]
    for ones, choose in ((wanted, max), (unwanted, min)):
        one = choose(ones, key=worth_of, default=None)
        if one is not None and (text := one.response.text.strip()):
            yield KtoExample(
                offer.prompt.text,
                text,
                desirable(one),
                offer.prompt.digest,
                cut=was_cut(one.response),
                harmful=harmful,
                borrowed=one is offer.lent,
            )
