"""What there is to prefer from: each prompt's judged answers, now and in earlier cycles, and their rank."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from policies.cares import Label, is_desirable, safety_score
from policies.preferences.lending import Lender
from policies.records import Judged, Prompt, Response


@dataclass(frozen=True)
class Offer:
    """The scored answers to a prompt: what the policy says `now`, what was said `before`, what is `lent`."""

    prompt: Prompt
    now: tuple[Judged, ...] = ()
    before: tuple[Judged, ...] = ()
    lent: Judged | None = None

    @property
    def parts(self) -> list[tuple[Judged, ...]]:
        """Some may be empty; of equal answers that of the earlier part is taken."""
        return [self.now, self.before, () if self.lent is None else (self.lent,)]


def offers(
    judged: Iterable[Judged], replayed: Iterable[Judged], *, seed: int, borrow_refusals: bool
) -> Iterator[Offer]:
    """Each prompt that has a scored answer, by digest; the same text twice counts once, unscored ones never.

    With `borrow_refusals` one of which no refusal was said is lent one that was said about others.
    """
    now, before = _by_prompt(judged), _by_prompt(replayed)
    lender = Lender(itertools.chain(*now.values(), *before.values()), seed=seed) if borrow_refusals else None
    for digest in sorted(now.keys() | before.keys()):
        said, once = now.get(digest, ()), before.get(digest, ())
        prompt = (said or once)[0].prompt
        lent = None
        if lender and not any(label_of(one) is Label.REFUSE for one in (*said, *once)):
            lent = lender.lend(prompt)
        yield Offer(prompt, said, once, lent)


def label_of(one: Judged) -> Label:
    if one.verdict.label is None:
        raise ValueError("an unscored answer has no preference")
    return one.verdict.label


def score_of(one: Judged) -> float:
    return safety_score(one.prompt.harmful_level, label_of(one))


def desirable(one: Judged) -> bool:
    """Does its label have the table's best score for the prompt's level?"""
    return is_desirable(one.prompt.harmful_level, label_of(one))


def rank_of(one: Judged) -> tuple[float, int]:
    """Of equal scores a harmful prompt's refusal beats its caution; a harmless one's is worse than that."""
    refuses = label_of(one) is Label.REFUSE
    return score_of(one), (1 if refuses else 0) if one.prompt.harmful_level else (0 if refuses else 1)


def worth_of(one: Judged) -> tuple[float, int, int, str]:
    """Ties: what the policy says plainly beats what it says under worked examples."""
    return *rank_of(one), int(one.response.context_name == "plain"), one.response.answer_digest


def best_in(parts: Iterable[Sequence[Judged]]) -> Judged | None:
    """The best answer, and of equals that of the earlier part; None where there is none."""
    return max((max(part, key=worth_of) for part in parts if part), key=rank_of, default=None)


def worst_in(parts: Iterable[Sequence[Judged]]) -> Judged | None:
    """The worst answer, and of equals that of the earlier part; None where there is none."""
    return min((min(part, key=worth_of) for part in parts if part), key=rank_of, default=None)


def was_cut(response: Response) -> bool:
    """Did the token limit end the answer?

    Such an answer is trained on without an end-of-turn: with one, the policy would learn to stop in
    mid-sentence, and all its answers would shrink to the limit of the training samples.
    """
    return response.finish_reason == "length"


def _by_prompt(judged: Iterable[Judged]) -> dict[str, tuple[Judged, ...]]:
    grouped: dict[str, dict[str, Judged]] = defaultdict(dict)
    for one in judged:
        if one.verdict.label is not None:
            grouped[one.prompt.digest].setdefault(one.response.answer_digest, one)
    return {digest: tuple(answers.values()) for digest, answers in grouped.items()}
