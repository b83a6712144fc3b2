"""Train, selection and sealed prompts that do not leak into one another, and samples from them.

What belongs together stays together: rewrites of one base prompt, equal texts, near-duplicate base prompts.
Every choice hangs on a prompt's digest and the seed, so the order of the input does not matter.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from policies.digests import digest_of, seed_from, short
from policies.duplicates import THRESHOLD, Groups, near_duplicate_clusters, normalised
from policies.errors import ConfigurationError, Held, NotEnoughData
from policies.records import Prompt
from policies.sampling import largest_remainder, sample

__all__ = ["FRACTIONS", "Leak", "Splits", "assert_no_leak", "leak_check", "sample", "split"]

FRACTIONS: Mapping[str, float] = {"train": 0.5, "selection": 0.25, "sealed": 0.25}


@dataclass(frozen=True)
class Splits:
    """Three disjoint sets of prompts, each in the order of their digests."""

    train: tuple[Prompt, ...]
    selection: tuple[Prompt, ...]
    sealed: tuple[Prompt, ...]

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """Address of each split: what a scorecard names as the prompts it was made on."""
        return {
            name: digest_of(sorted(prompt.digest for prompt in getattr(self, name))) for name in FRACTIONS
        }


@dataclass(frozen=True)
class Leak:
    """A held-out prompt that training has seen: `kind` is base_prompt, text or near_duplicate."""

    kind: str
    train_digest: str
    held_out_digest: str


def split(
    prompts: Iterable[Prompt],
    *,
    fractions: Mapping[str, float] = FRACTIONS,
    seed: int,
    threshold: float = THRESHOLD,
) -> Splits:
    """`prompts` in three, by groups, stratified by level × hard_benign × principle × the group's methods.

    `fractions` are of groups, and sum to 1. In each stratum a split gets its fraction of the groups, rounded
    down or up; who is rounded up is settled by what earlier strata left owing, so that many small strata do
    not all fall to the largest split. A prompt given twice counts once. Raises ConfigurationError for bad
    fractions and NotEnoughData where a split would be empty.
    """
    _check_fractions(fractions)
    unique = {prompt.digest: prompt for prompt in prompts}
    ordered = [unique[digest] for digest in sorted(unique)]
    strata: dict[tuple[int, bool, int, str], list[list[Prompt]]] = defaultdict(list)
    for group in _grouped(ordered, threshold):
        strata[_stratum(group)].append(group)
    names = list(FRACTIONS)
    shares = [fractions[name] for name in names]
    parts: dict[str, list[Prompt]] = {name: [] for name in names}
    owed: dict[object, list[float]] = defaultdict(lambda: [0.0] * len(names))
    for stratum in sorted(strata):
        groups = sorted(strata[stratum], key=lambda group: seed_from(seed, "split", group[0].digest))
        # Debts to the level and to the principle: both margins come out even, not only the sum.
        debts = [owed["all"], owed["level", stratum[0]], owed["principle", stratum[2]]]
        places = largest_remainder(len(groups), shares, owed=[sum(debt) for debt in zip(*debts, strict=True)])
        for debt in debts:
            for position, (share, place) in enumerate(zip(shares, places, strict=True)):
                debt[position] += share * len(groups) - place
        remaining = iter(groups)
        for name, place in zip(names, places, strict=True):
            parts[name].extend(prompt for _ in range(place) for prompt in next(remaining))
    for name, part in parts.items():
        if not part:
            count = sum(len(groups) for groups in strata.values())
            raise NotEnoughData(
                f"{len(ordered)} prompts in {count} groups leave the {name} split empty: add prompts "
                "that are not rewrites of one another."
            )
    return Splits(
        **{name: tuple(sorted(part, key=lambda prompt: prompt.digest)) for name, part in parts.items()}
    )


def leak_check(
    train: Iterable[Prompt], held_out: Iterable[Prompt], *, threshold: float = THRESHOLD
) -> list[Leak]:
    """The held-out prompts that `train` has seen, each once with its plainest reason, in their order.

    At the threshold of the split it finds nothing in a split's own parts.
    """
    train, held_out = list(train), list(held_out)
    both = train + held_out
    keys = {
        "base_prompt": [normalised(prompt.base_prompt) for prompt in both],
        "text": [normalised(prompt.text) for prompt in both],
        "near_duplicate": [str(cluster) for cluster in _clusters(both, threshold)],
    }
    seen: dict[str, dict[str, Prompt]] = {
        kind: dict(zip(reversed(values[: len(train)]), reversed(train), strict=True))
        for kind, values in keys.items()
    }
    leaks: list[Leak] = []
    for position, prompt in enumerate(held_out, start=len(train)):
        kind = next((kind for kind in keys if keys[kind][position] in seen[kind]), None)
        if kind is not None:
            leaks.append(Leak(kind, seen[kind][keys[kind][position]].digest, prompt.digest))
    return leaks


def assert_no_leak(
    train: Iterable[Prompt], held_out: Iterable[Prompt], *, threshold: float = THRESHOLD
) -> None:
    """Held, with counts and one example's digests, where `leak_check` finds anything."""
    leaks = leak_check(train, held_out, threshold=threshold)
    if not leaks:
        return
    counts = Counter(leak.kind for leak in leaks)
    listed = ", ".join(f"{count} by {kind}" for kind, count in sorted(counts.items()))
    raise Held(
        f"{len(leaks)} held-out prompts leak into training ({listed}), for example "
        f"{short(leaks[0].held_out_digest)} through {short(leaks[0].train_digest)}: split all "
        "prompts again, or remove these from training."
    )


def _clusters(prompts: Sequence[Prompt], threshold: float) -> list[int]:
    """A cluster number for each prompt: one for all that must lie on one side.

    Rewrites share the words of their frames, so near-duplicates are sought among base prompts (for files
    without them: the prompts) and not among rewritten texts, where strangers in one frame look alike.
    The hash seed is fixed: a later leak check must see the pairs that the split saw.
    """
    groups = Groups(len(prompts))
    first: dict[tuple[str, str], int] = {}
    for position, prompt in enumerate(prompts):
        groups.join(position, first.setdefault(("base_prompt", normalised(prompt.base_prompt)), position))
        groups.join(position, first.setdefault(("text", normalised(prompt.text)), position))
    wordings: dict[str, int] = {}
    for position, prompt in enumerate(prompts):
        plain = (
            (prompt.base_prompt, prompt.text) if prompt.method in (None, "direct") else (prompt.base_prompt,)
        )
        for wording in plain:
            groups.join(position, wordings.setdefault(wording, position))
    clusters = near_duplicate_clusters(list(wordings), threshold=threshold)
    positions = list(wordings.values())
    for position, cluster in zip(positions, clusters, strict=True):
        groups.join(position, positions[cluster])
    return [groups.find(position) for position in range(len(prompts))]


def _grouped(prompts: Sequence[Prompt], threshold: float) -> list[list[Prompt]]:
    groups: dict[int, list[Prompt]] = defaultdict(list)
    for prompt, cluster in zip(prompts, _clusters(prompts, threshold), strict=True):
        groups[cluster].append(prompt)
    return list(groups.values())


def _stratum(group: Sequence[Prompt]) -> tuple[int, bool, int, str]:
    """The group's commonest level, hard_benign and principle (−1 for none), and its methods."""
    kinds = Counter(
        (
            prompt.harmful_level,
            prompt.hard_benign,
            -1 if prompt.principle_index is None else prompt.principle_index,
        )
        for prompt in group
    )
    level, hard_benign, principle = min(kinds, key=lambda kind: (-kinds[kind], kind))
    return level, hard_benign, principle, ",".join(sorted({prompt.method or "" for prompt in group}))


def _check_fractions(fractions: Mapping[str, float]) -> None:
    if set(fractions) != set(FRACTIONS):
        raise ConfigurationError(f"fractions must name exactly {', '.join(FRACTIONS)}.")
    if not all(0 < fraction < 1 for fraction in fractions.values()):
        raise ConfigurationError("fractions must each lie between 0 and 1.")
    if not math.isclose(sum(fractions.values()), 1.0, abs_tol=1e-6):
        raise ConfigurationError("fractions must sum to 1.")
