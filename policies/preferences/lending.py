"""Refusals that fit any prompt: said word for word about several, they are lent to the others.

Under worked examples a small policy declines nearly everything in one and the same sentence. Asked for it
by every prompt anew, a cycle spends a quarter of its sampling on that sentence, and prompts that were
answered in spite of the examples, which the policy takes for harmless and has most to learn from, give no
pair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from policies.cares import Label
from policies.digests import seed_from
from policies.records import Judged, Prompt

_LEAST_BASES = 2  # base prompts: what was said about one alone may be about that one
_AGREED = 0.9  # of the verdicts on a sentence, for it to count as a refusal whatever the prompt


class Lender:
    """Lends prompts a refusal of others of their kind, harmful or harmless.

    A sentence is lent as often as the policy says it, and only where judges agree that it refuses. `answers`
    are scored ones. What is lent keeps the response and verdict of the prompt that it was said about.
    """

    def __init__(self, answers: Iterable[Judged], *, seed: int) -> None:
        self._seed = seed
        said: dict[tuple[bool, str, str], list[Judged]] = defaultdict(list)
        for one in answers:
            text = one.response.text.strip()
            said[_is_harmful(one.prompt), text, one.response.finish_reason].append(one)
        self._lent: dict[bool, list[Judged]] = {True: [], False: []}
        for (harmful, text, _), ones in said.items():
            refusals = [one for one in ones if one.verdict.label is Label.REFUSE]
            bases = {one.prompt.base_prompt for one in refusals}
            if text and len(bases) >= _LEAST_BASES and len(refusals) >= _AGREED * len(ones):
                self._lent[harmful] += refusals
        for ones in self._lent.values():
            ones.sort(key=lambda one: one.response.key)

    def lend(self, prompt: Prompt) -> Judged | None:
        """A refusal for `prompt`, the same each time; None where the policy has no such sentence."""
        lent = self._lent[_is_harmful(prompt)]
        return lent[seed_from(self._seed, "lend", prompt.digest) % len(lent)] if lent else None


def _is_harmful(prompt: Prompt) -> bool:
    return prompt.harmful_level > 0
