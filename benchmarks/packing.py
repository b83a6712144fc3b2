"""Seconds of asking with packed weights against plain ones, in one run.

    python benchmarks/packing.py [--count N] [--rounds N] [--threads N] [--models DIR]

The questions are direct ones of the bank, asked plainly. After a warm-up of each way rounds alternate, so
that a busy machine slows both alike; the ratio is of the fastest rounds. Exit status 0 where packed is not
slower, or where this processor gains nothing and nothing is packed.
"""

from __future__ import annotations

import sys
from functools import partial
from unittest.mock import patch

import torch
from rounds import fastest_rounds, options_of, start_as_a_worker

from policies.engines import packed_weights
from policies.engines.models import EMBEDDED, pick_dtype, resolve_model
from policies.engines.transformers_engine import TransformersEngine
from policies.records import PLAIN, Ask, Policy, Sampling
from policies.sources.bank import load_bank


def main() -> int:
    """Exit status as the module says."""
    options = options_of(__doc__, count=256, rounds=3).parse_args()
    folder = resolve_model(EMBEDDED, cache_dir=options.models)
    cpu, dtype = torch.device("cpu"), pick_dtype("auto", "cpu")
    if not packed_weights.most_rows(cpu, dtype):
        print(f"this processor gains nothing by it in {dtype}: nothing is packed, nothing to compare")
        return 0
    made = partial(TransformersEngine, model_path=folder, threads=options.threads, share_heads=True)
    prompts = sorted(load_bank(["direct"]), key=lambda prompt: prompt.digest)[: options.count]
    asks = [Ask(one, Sampling(32, 0.0, 1, PLAIN), 0) for one in prompts]
    with patch.object(packed_weights, "most_rows", lambda *_: 0):
        engines = {"plain": made()}
    engines["packed"] = made()
    policy = Policy(engines["plain"].base_digest)
    texts: dict[str, list[str]] = {}

    def answer(way: str) -> None:
        texts[way] = [response.text for response in engines[way].generate(policy, asks)]

    print(f"{len(prompts)} questions, {torch.get_num_threads()} threads, {options.rounds} rounds of each way")
    fastest = fastest_rounds("asking", {way: partial(answer, way) for way in engines}, options.rounds)
    same = sum(one == other for one, other in zip(texts["plain"], texts["packed"], strict=True))
    ratio = fastest["plain"] / fastest["packed"]
    print(
        f"asking: {fastest['plain']:.2f} s plain, {fastest['packed']:.2f} s packed, "
        f"{ratio:.2f} times as fast; {same} of {len(prompts)} answers the same"
    )
    return int(ratio < 1)


if __name__ == "__main__":
    start_as_a_worker()
    sys.exit(main())
