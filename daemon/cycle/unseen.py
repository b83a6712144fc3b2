"""Did an earlier cycle train on what this one would test on? Splits cannot know: each is made for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daemon.store.store import Store
from policies.duplicates import normalised
from policies.errors import Held
from policies.records import Prompt
from policies.splits import Splits


def assert_unseen(store: Store, splits: Splits, *, split_seed: int) -> None:
    """Held where selection or sealed prompts, or rewrites of them, were trained on by any cycle of the store.

    Any cycle that trained a candidate counts, whether or not that was released: the deployed policy may
    descend from it. The message names counts, cycles and settings, no prompt.
    """
    digests: dict[str, int] = {}
    bases: dict[str, int] = {}
    for cycle_id, digest, base_prompt in store.answers.trained_on():
        digests.setdefault(digest, cycle_id)
        bases.setdefault(normalised(base_prompt), cycle_id)
    seen: dict[str, list[int]] = {}
    parts: Mapping[str, Sequence[Prompt]] = {"selection": splits.selection, "sealed": splits.sealed}
    for name, prompts in parts.items():
        found = [digests.get(one.digest, bases.get(normalised(one.base_prompt))) for one in prompts]
        seen[name] = [cycle_id for cycle_id in found if cycle_id is not None]
    if any(seen.values()):
        raise Held(_message(store, seen, split_seed))


def _message(store: Store, seen: Mapping[str, Sequence[int]], split_seed: int) -> str:
    counts = " and ".join(f"{len(cycles)} {name}" for name, cycles in seen.items())
    cycle_id = max(cycle for cycles in seen.values() for cycle in cycles)
    start = (
        f"{counts} prompts are, or are rewrites of, prompts that earlier cycles trained on (the last of "
        f"them cycle {cycle_id}), so no figure on them can be believed"
    )
    before = store.cycles.get(cycle_id).config.get("prompts", {}).get("split_seed")
    if before is not None and before != split_seed:
        why = f"prompts.split_seed is {split_seed} and was {before} then: set it back to {before}"
    else:
        why = (
            f"under the same prompts.split_seed = {split_seed} the prompts or their fractions have changed "
            "(prompts.source, prompts.train, prompts.selection, prompts.sealed): set them back"
        )
    return f"{start}; {why}, or set prompts.source to prompts that no cycle has trained on; then run again"
