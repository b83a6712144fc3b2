"""Did an earlier cycle train on what this one would test on? Splits cannot know: each is made for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daemon.store.store import Store
from policies.errors import Held
from policies.records import Prompt
from policies.splits import Splits, leak_check


def assert_unseen(store: Store, splits: Splits, *, split_seed: int) -> None:
    """Held where `leak_check` finds that a cycle of the store trained on selection or sealed prompts.

    That is the measure by which splits are made: equal prompts, rewrites of one base prompt, equal texts and
    near-duplicates. Any cycle that trained a candidate counts, whether or not that was released: the
    deployed policy may descend from it. The message names counts, cycles and settings, no prompt.
    """
    cycles: dict[str, int] = {}
    trained: list[Prompt] = []
    for cycle_id, prompt in store.answers.trained_on():
        if cycles.setdefault(prompt.digest, cycle_id) == cycle_id:
            trained.append(prompt)
    if not trained:
        return
    leaks = leak_check(trained, [*splits.selection, *splits.sealed])
    through = {leak.held_out_digest: cycles[leak.train_digest] for leak in leaks}
    parts: Mapping[str, Sequence[Prompt]] = {"selection": splits.selection, "sealed": splits.sealed}
    seen = {
        name: [through[one.digest] for one in prompts if one.digest in through]
        for name, prompts in parts.items()
    }
    if leaks:
        raise Held(_message(store, seen, split_seed))


def _message(store: Store, seen: Mapping[str, Sequence[int]], split_seed: int) -> str:
    counts = " and ".join(f"{len(cycles)} {name}" for name, cycles in seen.items())
    cycle_id = max(cycle for cycles in seen.values() for cycle in cycles)
    start = (
        f"{counts} prompts are, rewrite or nearly repeat prompts that earlier cycles trained on (the last of "
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
