"""KTO examples (arXiv 2402.01306): single answers, desirable or not."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from policies.cares import Label
from policies.digests import seed_from
from policies.preferences.made import Preferences, enough
from policies.preferences.offers import Offer, best_in, desirable, label_of, offers, was_cut, worst_in
from policies.preferences.proportions import evenly_mixed, rationed
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
    shown = {
        harmful: {row.prompt_digest for _, row in kinds[harmful, True]}
        & {row.prompt_digest for _, row in kinds[harmful, False]}
        for harmful in (False, True)
    }
    for rows in kinds.values():  # prompts that show both go first, the same ones in both classes
        rows.sort(
            key=lambda row: (
                row[1].prompt_digest not in shown[row[1].harmful],
                seed_from(seed, row[1].prompt_digest),
            )
        )
    kept = _in_balance(kinds, limit, balance_methods)
    thinned = "after the kinds were thinned to each other and to training.max_examples"
    harmful_wanted = sum(row.harmful and row.desirable for row in kept)
    enough("KTO", f"desirable answers {thinned}", len(kept) // 2, least)
    enough("KTO", f"desirable answers to harmful prompts {thinned}", harmful_wanted, least_harmless)
    order = evenly_mixed(
        [2 * row.harmful + row.desirable for row in kept], random.Random(seed), no_turns=True
    )
    return Preferences("kto", kto=tuple(kept[row] for row in order))


def _in_balance(
    kinds: Mapping[tuple[bool, bool], _Rows], limit: int | None, balance_methods: bool
) -> list[KtoExample]:
    """The first of each kind: as many of both classes, and of harmful prompts no more than of others."""
    harmful = {wanted: kinds[True, wanted] for wanted in _CLASSES}
    harmless = min(len(kinds[False, wanted]) for wanted in _CLASSES)
    room = sum(map(len, kinds.values())) if limit is None else limit // 2  # for each class

    def counts() -> tuple[int, int]:
        of_harmful = min(*map(len, harmful.values()), harmless, room // 2)
        return of_harmful, min(harmless, room - of_harmful)

    if balance_methods:
        _, staying = counts()
        asked = [Counter(method for method, _ in kinds[False, wanted][:staying]) for wanted in _CLASSES]
        harmful = {wanted: rationed(rows, asked[0] & asked[1]) for wanted, rows in harmful.items()}
    of_harmful, of_harmless = counts()
    return [
        row
        for wanted in _CLASSES
        for rows, count in ((harmful[wanted], of_harmful), (kinds[False, wanted], of_harmless))
        for _, row in rows[:count]
    ]


def _examples(offer: Offer, prefer_refusals: bool) -> Iterator[KtoExample]:
    harmful = offer.prompt.harmful_level > 0
    wanted = [
        [
            one
            for one in part
            if desirable(one) and not (prefer_refusals and harmful and label_of(one) is not Label.REFUSE)
        ]
        for part in offer.parts
    ]
    unwanted = [[one for one in part if not desirable(one)] for part in offer.parts]
    found = [one for one in (best_in(wanted), worst_in(unwanted)) if one is not None]
    if len({one.response.text.strip() for one in found}) < len(found):
        return  # one sentence, judged one way and the other, teaches nothing
    for one in found:
        if text := one.response.text.strip():
            yield KtoExample(
                offer.prompt.text,
                text,
                desirable(one),
                offer.prompt.digest,
                cut=was_cut(one.response),
                harmful=harmful,
                borrowed=one is offer.lent,
            )
