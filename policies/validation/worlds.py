"""Synthetic experiments with a known truth: labels of incumbent and candidates, and what judges say of them.

Rows of a base prompt share a latent difficulty, so rewrites answer alike. A candidate keeps the incumbent's
answer but for a share of prompts (`churn`) that it answers afresh; its true gain moves the threshold of a
right answer on harmful prompts. Verdicts are drawn from confusion matrices, an unchanged answer keeping its
verdict. The cases go through the same gates as real ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from policies.validation.cases import Case, Health
from policies.validation.scorecards import calibration_counts
from policies.validation.tables import ACCEPT, CAUTION, REFUSE, SCORES, Codes, Floats, Pair, Slices
from policies.validation.text import TextStats

_KEPT_VERDICT = 0.7  # of unchanged labels: the same words, so the same verdict
_REFUSED_WRONGLY = 0.4  # of wrong answers to harmless prompts; the others hedge
_SPEECH = TextStats(1000, 60.0, 70.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_HEALTH = Health(_SPEECH, perplexity=12.0, kl_to_base=0.1)


@dataclass(frozen=True)
class World:
    """`prompts` rows in base prompts of `rewrites` rows each, harm levels drawn by `level_shares`.

    `right`: the incumbent's chance of the right label by level. `correlation` of rows of a base prompt.
    `judge_accuracy`, `second_accuracy`: chance that a label is judged right, errors even over the other two.
    `labels`: human labels a level behind the judge's calibration.
    """

    prompts: int = 1000
    sealed: int = 1000
    rewrites: int = 1
    correlation: float = 0.5
    level_shares: tuple[float, ...] = (0.45, 0.15, 0.2, 0.2)
    right: tuple[float, ...] = (0.96, 0.7, 0.65, 0.6)
    churn: float = 0.2
    judge_accuracy: float = 0.92
    second_accuracy: float = 0.85
    labels: int = 300


@dataclass(frozen=True)
class Truth:
    """A candidate's real worth: SS gain on selection and on sealed prompts (None: the same), and the share of
    its wrong answers to harmful prompts that fool the judge into Refuse.
    """

    gain: float = 0.0
    sealed_gain: float | None = None
    fooling: float = 0.0


@dataclass(frozen=True, eq=False)
class Experiment:
    """Cases of the candidates, the judge's calibration, and each candidate's true SS change on selection."""

    cases: tuple[Case, ...]
    confusion: dict[str, list[list[float]]]
    true_changes: tuple[float, ...]


def experiment(
    world: World,
    truths: Sequence[Truth],
    rng: np.random.Generator,
    stored: Mapping[str, Sequence[Sequence[float]]] | None = None,
) -> Experiment:
    """One draw. `stored`: confusion counts of a real judge, in place of `judge_accuracy`."""
    judge, counts = _judge(world, rng, stored)
    second = np.broadcast_to(_even(world.second_accuracy), (4, 3, 3))
    selection, sealed = _Split(world, world.prompts, rng), _Split(world, world.sealed, rng)
    cases, changes = [], []
    for number, truth in enumerate(truths):
        there = truth.gain if truth.sealed_gain is None else truth.sealed_gain
        labels = selection.candidate(truth.gain)
        pair = selection.judged(labels, judge, truth.fooling)
        case = Case(
            key=f"candidate-{number}",
            name=f"candidate {number}",
            pair=pair,
            second=selection.judged(labels, second, 0.0),
            sealed=sealed.judged(sealed.candidate(there), judge, truth.fooling),
            references={"base": pair},
            health=_HEALTH,
            incumbent_health=_HEALTH,
            base_health=_HEALTH,
        )
        cases.append(case)
        changes.append(selection.true_change(labels))
    confusion = {str(level): matrix.tolist() for level, matrix in enumerate(counts)}
    return Experiment(tuple(cases), confusion, tuple(changes))


class _Split:
    """The prompts of a split and the incumbent's true labels."""

    def __init__(self, world: World, prompts: int, rng: np.random.Generator) -> None:
        self._world, self._rng = world, rng
        clusters = np.arange(prompts) // world.rewrites
        count = int(clusters[-1]) + 1
        levels = rng.choice(4, size=count, p=world.level_shares)[clusters]
        self.slices = Slices(
            levels=levels,
            clusters=clusters,
            principles=rng.integers(8, size=count)[clusters],
            methods=rng.integers(4, size=prompts),
            hard=np.zeros(prompts, bool),
        )
        self._latent, self._hedge = self._draw(), rng.random(prompts)
        self._labels = self._label(self._latent, 0.0)
        self._luck = rng.random(prompts)

    def candidate(self, gain: float) -> Codes:
        """A candidate's true labels, its churn decided by base prompt."""
        clusters = self.slices.clusters
        afresh = (self._rng.random(int(clusters[-1]) + 1) < self._world.churn)[clusters]
        return self._label(np.where(afresh, self._draw(), self._latent), gain)

    def judged(self, labels: Codes, judge: Floats, fooling: float) -> Pair:
        """What a judge says of incumbent and candidate."""
        levels = self.slices.levels
        fresh = self._rng.random(len(labels))
        kept = (labels == self._labels) & (self._rng.random(len(labels)) < _KEPT_VERDICT)
        after = _verdicts(labels, levels, judge, np.where(kept, self._luck, fresh))
        fooled = (levels > 0) & (labels == ACCEPT) & (self._rng.random(len(labels)) < fooling)
        before = _verdicts(self._labels, levels, judge, self._luck)
        return Pair.of(self.slices, before, np.where(fooled, REFUSE, after))

    def true_change(self, labels: Codes) -> float:
        levels = self.slices.levels
        return float((SCORES[levels, labels] - SCORES[levels, self._labels]).mean())

    def _draw(self) -> Floats:
        clusters, shared = self.slices.clusters, self._world.correlation
        common = self._rng.standard_normal(int(clusters[-1]) + 1)[clusters]
        own = self._rng.standard_normal(len(clusters))
        return np.sqrt(shared) * common + np.sqrt(1 - shared) * own

    def _label(self, latent: Floats, gain: float) -> Codes:
        levels, world = self.slices.levels, self._world
        harmful = 1 - world.level_shares[0]
        chances = np.asarray(world.right) + np.array([0.0, gain, gain, gain]) / harmful
        right = latent < ndtri(np.clip(chances, 1e-9, 1 - 1e-9))[levels]
        wrong_harmless = np.where(self._hedge < _REFUSED_WRONGLY, REFUSE, CAUTION)
        harmless = np.where(right, ACCEPT, wrong_harmless)
        return np.where(levels == 0, harmless, np.where(right, REFUSE, ACCEPT)).astype(np.intp)


def _verdicts(labels: Codes, levels: Codes, judge: Floats, luck: Floats) -> Codes:
    steps = judge.cumsum(axis=-1)[levels, labels]
    return np.minimum((luck[:, None] > steps).sum(axis=1), REFUSE).astype(np.intp)


def _judge(
    world: World, rng: np.random.Generator, stored: Mapping[str, Sequence[Sequence[float]]] | None
) -> tuple[Floats, Floats]:
    """True confusion (4, 3, 3), and the counts (4, 3, 3) that a calibration of it finds."""
    if stored is None:
        judge = np.broadcast_to(_even(world.judge_accuracy), (4, 3, 3))
        rows = np.full((4, 3), world.labels // 3)
    else:
        known = np.broadcast_to(calibration_counts(stored), (4, 3, 3))
        weights = rng.standard_gamma(known + 0.5)
        judge = weights / weights.sum(axis=-1, keepdims=True)
        rows = known.sum(axis=-1).astype(np.intp)
    return judge, rng.multinomial(rows, judge).astype(np.float64)


def _even(accuracy: float) -> Floats:
    off = (1 - accuracy) / 2
    return np.full((3, 3), off) + (accuracy - off) * np.eye(3)
