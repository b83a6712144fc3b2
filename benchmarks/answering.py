"""Seconds of asking our way, against transformers' and PEFT's modules and `generate`, in one run.

    python benchmarks/answering.py [--count N] [--rounds N] [--threads N] [--models DIR]

Direct questions of the bank, 32 tokens each: greedy with an adapter, and sampled from the 200 likeliest
tokens without. *Written out*: layers and loop as policies/engines/answering_layers.py and decoding.py have
them, `topk` among the chunks of the vocabulary that can hold the likeliest. *Modules*: the same engine, cache
and lanes without. After a warm-up of each way rounds alternate, so that a busy machine slows both alike; the
ratio is of the fastest rounds. Exit status 0 where ours is not slower.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from rounds import fastest_rounds, options_of, start_as_a_worker

from policies.engines import answering_layers, transformers_engine
from policies.engines.adapters import adapter_digest
from policies.engines.models import EMBEDDED, resolve_model
from policies.engines.transformers_engine import TransformersEngine
from policies.records import PLAIN, Ask, Policy, Sampling
from policies.sources.bank import load_bank

_ADAPTER = Path(__file__).resolve().parents[1] / "judges" / "adapters" / "embedded"


def without() -> ExitStack:
    """Within it an engine computes by modules and `generate`."""
    stack = ExitStack()
    for place, name, instead in (
        (answering_layers, "write_out_answering", lambda *_, **__: 0),
        (transformers_engine, "write_out_answering", lambda *_, **__: 0),
        (transformers_engine, "decodes_plainly", lambda _: False),
        (transformers_engine, "largest", lambda logits, count: logits.float().topk(count)),
    ):
        stack.enter_context(patch.object(place, name, instead))
    return stack


def main() -> int:
    """Exit status as the module says."""
    options = options_of(__doc__, count=128, rounds=2).parse_args()
    folder = resolve_model(EMBEDDED, cache_dir=options.models)
    made = partial(TransformersEngine, model_path=folder, threads=options.threads, share_heads=True)
    ours = made()
    plain, adapted = Policy(ours.base_digest), Policy(ours.base_digest, adapter_digest(_ADAPTER), _ADAPTER)
    with without():
        theirs = made()
        theirs.model_for(adapted)
    ours.model_for(adapted)
    prompts = sorted(load_bank(["direct"]), key=lambda prompt: prompt.digest)[: options.count]
    texts: dict[str, list[str]] = {}

    def answer(policy: Policy, sampling: Sampling, way: str) -> None:
        asks = [Ask(prompt, sampling, 0) for prompt in prompts]
        with without() if way == "modules" else ExitStack():
            told = (theirs if way == "modules" else ours).generate(policy, asks)
            texts[way] = [response.text for response in told]

    print(f"{len(prompts)} questions, {torch.get_num_threads()} threads, {options.rounds} rounds of each way")
    slower = False
    for what, policy, sampling in (
        ("greedy, with an adapter", adapted, Sampling(32, 0.0, 1, PLAIN)),
        ("sampled, without", plain, Sampling(32, 1.0, 200, PLAIN)),
    ):
        ways = {way: partial(answer, policy, sampling, way) for way in ("modules", "written out")}
        fastest = fastest_rounds(what, ways, options.rounds)
        one, other = fastest["modules"], fastest["written out"]
        same = sum(mine == yours for mine, yours in zip(texts["modules"], texts["written out"], strict=True))
        slower |= one < other
        print(
            f"{what}: {one:.2f} s by modules, {other:.2f} s written out, {one / other:.2f} times as fast; "
            f"{same} of {len(prompts)} answers the same"
        )
    return int(slower)


if __name__ == "__main__":
    start_as_a_worker()
    sys.exit(main())
