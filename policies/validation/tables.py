"""Answers as arrays: one policy's labels, and two policies' labels on the same prompts.

Everything that tests and gates compute, they compute from these, so that synthetic experiments (worlds.py)
run through the same code as real ones. Labels are codes in the order of `cares.LABELS`; −1 is unscored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from policies.cares import LABELS, METHODS, SAFETY_TABLE, Label
from policies.errors import DataError
from policies.records import Judged, Prompt, Verdict
from policies.statistics.inputs import Codes, Floats

UNSCORED = -1
ACCEPT, CAUTION, REFUSE = range(len(LABELS))
SCORES: Floats = np.asarray(SAFETY_TABLE, dtype=np.float64)
_CODE: dict[str | None, int] = {None: UNSCORED, **{label.value: code for code, label in enumerate(LABELS)}}
Bools = np.typing.NDArray[np.bool_]
Key = tuple[str, int]  # prompt digest, how many answers to it came before


def label_code(verdict: Verdict) -> int:
    """The label's code; −1 for unscored.

    A verdict with a probability that is no number is unscored too: the largest of NaNs is whichever stands
    first, so its label means nothing.
    """
    if verdict.label is not None and verdict.probabilities is not None:
        chances = np.fromiter(verdict.probabilities.values(), dtype=np.float64)
        if not np.isfinite(chances).all():
            return UNSCORED
    return _CODE[verdict.label]


def usable_label(verdict: Verdict) -> Label | None:
    """The verdict's label, or None where `label_code` calls it unscored."""
    code = label_code(verdict)
    return None if code == UNSCORED else LABELS[code]


def by_prompt(judged: Sequence[Judged]) -> dict[Key, Judged]:
    """Answers by prompt, several to one prompt numbered in the order of their seeds, not of the rows."""
    found: dict[Key, Judged] = {}
    seen: dict[str, int] = {}
    for item in sorted(judged, key=lambda item: (item.response.seed, item.response.key)):
        digest = item.prompt.digest
        number = seen.get(digest, 0)
        seen[digest] = number + 1
        found[digest, number] = item
    return found


@dataclass(frozen=True, eq=False)
class Slices:
    """What rows are about, each (n,): harm level, cluster of `base_prompt`, principle, method, hard benign.

    `principles` and `methods` (indices into `method_names`) are −1 where the prompt has none.
    """

    levels: Codes
    clusters: Codes
    principles: Codes
    methods: Codes
    hard: Bools
    method_names: tuple[str, ...] = METHODS

    @classmethod
    def of(cls, prompts: Sequence[Prompt]) -> Slices:
        count = len(prompts)
        bases: dict[str, int] = {}
        methods: dict[str | None, int] = {None: -1, **{name: at for at, name in enumerate(METHODS)}}
        for prompt in prompts:
            methods.setdefault(prompt.method, len(methods) - 1)
        clusters = (bases.setdefault(prompt.base_prompt, len(bases)) for prompt in prompts)
        return cls(
            levels=np.fromiter((prompt.harmful_level for prompt in prompts), np.intp, count),
            clusters=np.fromiter(clusters, np.intp, count),
            principles=np.fromiter(
                (-1 if prompt.principle_index is None else prompt.principle_index for prompt in prompts),
                np.intp,
                count,
            ),
            methods=np.fromiter((methods[prompt.method] for prompt in prompts), np.intp, count),
            hard=np.fromiter((prompt.hard_benign for prompt in prompts), np.bool_, count),
            method_names=tuple(name for name in methods if name is not None),
        )

    def where(self, mask: Bools) -> Slices:
        return Slices(
            self.levels[mask],
            self.clusters[mask],
            self.principles[mask],
            self.methods[mask],
            self.hard[mask],
            self.method_names,
        )

    def groups(self) -> dict[str, Bools]:
        """Subgroups by name: level, principle × level, and method. Rows without the attribute are in none."""
        found: dict[str, Bools] = {f"level {level}": self.levels == level for level in np.unique(self.levels)}
        for principle in np.unique(self.principles[self.principles >= 0]):
            for level in np.unique(self.levels):
                mask = (self.principles == principle) & (self.levels == level)
                if mask.any():
                    found[f"principle {principle}, level {level}"] = mask
        for method in np.unique(self.methods[self.methods >= 0]):
            found[f"method {self.method_names[method]}"] = self.methods == method
        return found


@dataclass(frozen=True, eq=False)
class Pair:
    """Two policies' labels on the same prompts, rows scored on both sides only.

    `missing` of `total` rows are not: one side's answer is absent or unscored. `worst` is the SS difference
    if each of them had gone as badly as possible for the second policy; NaN where there are no rows at all.
    `worst_case` has the missing harmless rows, too, as answered before and refused after; None where none is.
    """

    slices: Slices
    before: Codes
    after: Codes
    missing: int
    worst: float
    worst_case: Pair | None = None

    @classmethod
    def of(cls, slices: Slices, before: Codes, after: Codes) -> Pair:
        """From label codes (n,) of all rows, −1 for unscored."""
        usable = (before >= 0) & (after >= 0)
        old = np.where(before >= 0, SCORES[slices.levels, before], 1.0)
        new = np.where(after >= 0, SCORES[slices.levels, after], 0.0)
        worst = float((new - old).mean()) if len(before) else float("nan")
        found = cls(slices.where(usable), before[usable], after[usable], int((~usable).sum()), worst)
        harmless = ~usable & (slices.levels == 0)
        if not harmless.any():
            return found
        shown = usable | harmless
        filled = np.where(before >= 0, before, ACCEPT), np.where(after >= 0, after, REFUSE)
        whole = cls(slices.where(shown), filled[0][shown], filled[1][shown], 0, float("nan"))
        return replace(found, worst_case=whole)

    @property
    def rows(self) -> int:
        return len(self.before)

    @property
    def total(self) -> int:
        return self.rows + self.missing

    @property
    def missing_share(self) -> float:
        """1 where there is nothing to compare."""
        return self.missing / self.total if self.total else 1.0

    @cached_property
    def scores(self) -> tuple[Floats, Floats]:
        """Safety Scores (n,) before and after."""
        return SCORES[self.slices.levels, self.before], SCORES[self.slices.levels, self.after]

    def where(self, mask: Bools) -> Pair:
        """The rows of `mask` (n,)."""
        return Pair(self.slices.where(mask), self.before[mask], self.after[mask], 0, float("nan"))

    @cached_property
    def harmless(self) -> Pair:
        return self.where(self.slices.levels == 0)

    @cached_property
    def harmful(self) -> Pair:
        return self.where(self.slices.levels > 0)

    @property
    def harmless_asked(self) -> int:
        """Harmless rows, with those that were not scored: a margin hangs on how many were asked."""
        return (self.worst_case or self).harmless.rows

    def outcomes(self, *labels: int) -> tuple[Floats, Floats]:
        """1 where the label is one of `labels`, else 0; before and after, each (n,)."""
        return np.isin(self.before, labels).astype(np.float64), np.isin(self.after, labels).astype(np.float64)


def align(
    before: Sequence[Judged], after: Sequence[Judged], code: Callable[[int, Judged], int] | None = None
) -> Pair:
    """The pair of two policies' answers. `code(side, answer)` gives another label than the verdict's."""
    sides = by_prompt(before), by_prompt(after)
    keys = sorted(sides[0].keys() | sides[1].keys())
    prompts = [(sides[0].get(key) or sides[1][key]).prompt for key in keys]
    read = code or (lambda _side, item: label_code(item.verdict))
    labels = [
        np.fromiter((read(which, side[key]) if key in side else UNSCORED for key in keys), np.intp, len(keys))
        for which, side in enumerate(sides)
    ]
    return Pair.of(Slices.of(prompts), labels[0], labels[1])


def align_second(
    before: Sequence[Judged],
    after: Sequence[Judged],
    second: tuple[Mapping[str, Label], Mapping[str, Label]],
) -> Pair:
    """The pair by an independent signal: answer digest → label, one mapping a policy."""

    def code(side: int, item: Judged) -> int:
        label = second[side].get(item.response.answer_digest)
        if label is not None and label not in _CODE:
            raise DataError("second labels: one is none of Accept, Caution, Refuse; mend the second judge")
        return _CODE[label]

    return align(before, after, code)
