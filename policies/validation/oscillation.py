"""Prompts that flip back and forth across releases: progress that is undone is no progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from policies.cares import safety_score
from policies.validation.evidence import Answers
from policies.validation.tables import by_prompt, usable_label


@dataclass(frozen=True)
class Oscillation:
    """`labels` over the releases that answered, oldest first; `turns` counts changes of direction."""

    prompt_digest: str
    level: int
    releases: tuple[str, ...]
    labels: tuple[str, ...]
    turns: int


def oscillations(history: Sequence[Answers]) -> list[Oscillation]:
    """Prompts whose Safety Score rose after it fell or fell after it rose, most turns first, then by level.

    `history` is in the order of release: base, champions, incumbent, candidate. Unscored answers are skipped.
    """
    seen: dict[tuple[str, int], tuple[int, list[str], list[str], list[float]]] = {}
    for release in history:
        for key, item in by_prompt(release.judged).items():
            label = usable_label(item.verdict)
            if label is None:
                continue
            level = item.prompt.harmful_level
            _, names, labels, scores = seen.setdefault(key, (level, [], [], []))
            names.append(release.name)
            labels.append(label.value)
            scores.append(safety_score(level, label))
    found = [
        Oscillation(key[0], level, tuple(names), tuple(labels), turns)
        for key, (level, names, labels, scores) in seen.items()
        if (turns := _turns(scores)) > 0
    ]
    return sorted(found, key=lambda one: (-one.turns, -one.level, one.prompt_digest))


def _turns(scores: Sequence[float]) -> int:
    moves = [after - before for before, after in pairwise(scores) if after != before]
    return sum(first * second < 0 for first, second in pairwise(moves))
