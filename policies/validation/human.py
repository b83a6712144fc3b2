"""People's labels against the judge's: what people would say of all prompts, from a sample that they read.

The judge's Safety Scores on all selection prompts are corrected by its mean error where people labelled both
answers (prediction-powered inference, see policies/statistics/prediction_powered.py). That is right for a
random sample of the prompts only: whoever labels the flips alone, or the harmful prompts alone, says nothing
about the others. `sample_p` notices such a choice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import fisher_exact

from policies.cares import LABELS, Label
from policies.records import Judged
from policies.statistics.inputs import Codes, Floats
from policies.statistics.prediction_powered import PredictionPowered, ppi_mean
from policies.validation.tables import REFUSE, SCORES, UNSCORED, Bools, Pair, by_prompt, label_code

_LEAST = 2  # clusters on either side of a prediction-powered mean


@dataclass(frozen=True, eq=False)
class HumanCodes:
    """People's label codes (n,) of both answers to the rows of a `Pair`; −1 where nobody labelled."""

    before: Codes
    after: Codes

    @cached_property
    def both(self) -> Bools:
        """Rows whose two answers are both labelled."""
        return (self.before >= 0) & (self.after >= 0)

    @property
    def rows(self) -> int:
        return int(self.both.sum())

    def where(self, mask: Bools) -> HumanCodes:
        return HumanCodes(self.before[mask], self.after[mask])


def settle(votes: Iterable[tuple[str, Label]]) -> dict[str, Label]:
    """One label an answer, from (answer digest, label) of any number of people.

    Where people disagree the strict majority counts; without one, no label.
    """
    found: defaultdict[str, Counter[Label]] = defaultdict(Counter)
    for digest, label in votes:
        found[digest][Label(label)] += 1
    settled = {}
    for digest, given in found.items():
        label, count = given.most_common(1)[0]
        if 2 * count > given.total():
            settled[digest] = label
    return settled


def human_codes(before: Sequence[Judged], after: Sequence[Judged], labels: Mapping[str, Label]) -> HumanCodes:
    """Codes for the rows of `align(before, after)`, in its order. `labels`: answer digest → label."""
    sides = by_prompt(before), by_prompt(after)
    keys = [
        key
        for key in sorted(sides[0].keys() & sides[1].keys())
        if all(label_code(side[key].verdict) != UNSCORED for side in sides)
    ]
    known = {digest: LABELS.index(Label(label)) for digest, label in labels.items()}
    codes = [
        np.fromiter(
            (known.get(side[key].response.answer_digest, UNSCORED) for key in keys), np.intp, len(keys)
        )
        for side in sides
    ]
    return HumanCodes(codes[0], codes[1])


def enough(pair: Pair, people: HumanCodes, least: int) -> bool:
    """At least `least` labelled rows, and more than one base prompt among them."""
    return people.rows >= least and _clusters(pair, people.both) >= _LEAST


def ss_change(pair: Pair, people: HumanCodes, *, level: float) -> PredictionPowered:
    """The SS difference that people would see, candidate − incumbent, with its two-sided interval."""
    before, after = pair.scores
    rows = people.both
    levels = pair.slices.levels[rows]
    human = SCORES[levels, people.after[rows]] - SCORES[levels, people.before[rows]]
    return _corrected(after - before, human, rows, pair, level)


def err_change(pair: Pair, people: HumanCodes, *, level: float) -> PredictionPowered | None:
    """The same for ERR; None where people labelled no two base prompts of harmless prompts."""
    mask = pair.slices.levels == 0
    part, seen = pair.harmless, people.where(mask)
    rows = seen.both
    if not enough(part, seen, _LEAST):
        return None
    before, after = part.outcomes(REFUSE)
    human = (seen.after[rows] == REFUSE).astype(float) - (seen.before[rows] == REFUSE)
    return _corrected(after - before, human, rows, part, level)


def sample_p(pair: Pair, people: HumanCodes) -> float:
    """How likely a random draw of base prompts is as lopsided as the labelled ones (smaller of two p).

    Fisher's exact test of labelled against changed by the judge, and against harmless; 1 where all are
    labelled.
    """
    labelled = _any(pair, people.both)
    before, after = pair.scores
    traits = (_any(pair, after != before), _any(pair, pair.slices.levels == 0))
    return min(1.0, 2 * min(_fisher(labelled, trait) for trait in traits))


def human_json(pair: Pair, people: HumanCodes, *, level: float) -> dict[str, Any]:
    """rows, sample_p, ss and err (None without harmless labels): estimate, interval, tuning, labels more."""
    gain, rise = ss_change(pair, people, level=level), err_change(pair, people, level=level)
    return {
        "rows": people.rows,
        "of": pair.rows,
        "sample_p": sample_p(pair, people),
        "ss": asdict(gain) | {"labels_more": gain.labels_more(0.0)},
        "err": None if rise is None else asdict(rise),
    }


def _corrected(judge: Floats, human: Floats, rows: Bools, pair: Pair, level: float) -> PredictionPowered:
    clusters = pair.slices.clusters
    near = clusters[rows]
    if _clusters(pair, ~rows) < _LEAST:  # people read (nearly) everything: their own mean, without the judge
        return ppi_mean(
            judge[rows],
            human,
            judge[rows],
            clusters_labelled=near,
            clusters_unlabelled=near,
            level=level,
            tuning=0.0,
            bounds=(-1.0, 1.0),
        )
    return ppi_mean(
        judge[rows],
        human,
        judge[~rows],
        clusters_labelled=near,
        clusters_unlabelled=clusters[~rows],
        level=level,
        bounds=(-1.0, 1.0),
    )


def _clusters(pair: Pair, mask: Bools) -> int:
    return len(np.unique(pair.slices.clusters[mask]))


def _any(pair: Pair, mask: Bools) -> Bools:
    """(clusters,): has any row of the base prompt the mark?"""
    _, codes = np.unique(pair.slices.clusters, return_inverse=True)
    return np.bincount(codes, weights=mask) > 0


def _fisher(first: Bools, second: Bools) -> float:
    table = [
        [int((first & second).sum()), int((first & ~second).sum())],
        [int((~first & second).sum()), int((~first & ~second).sum())],
    ]
    return float(fisher_exact(table)[1])
