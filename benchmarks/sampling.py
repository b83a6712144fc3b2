"""Seconds of asking a batch with its shared beginning attended to once, against once a row, in one run.

    python benchmarks/sampling.py [--count N] [--rounds N] [--threads N] [--models DIR]

The questions are direct ones of the bank, asked as a cycle asks them: plainly, under the worked examples,
and under the examples of nothing but refusals. *Once a row* is `model.share_heads: false`, *once* is true.
After a warm-up of each way rounds alternate, so that a busy machine slows both alike; the ratio is of the
fastest rounds. The last column counts answers that are the same both ways: the two round otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from rounds import fastest_rounds, options_of

from daemon.cycle.training_asks import read_context
from policies.digests import seed_from
from policies.engines.models import EMBEDDED, resolve_model
from policies.engines.transformers_engine import TransformersEngine
from policies.records import PLAIN, Ask, Policy, Sampling
from policies.sources.bank import load_bank

_CONFIGS = Path(__file__).resolve().parents[1] / "configs"
_WAYS = {"once a row": False, "once": True}


def main() -> int:
    """Exit status 0 where no way of asking is slower with the beginning attended to once, else 1."""
    parser = options_of(__doc__, count=128, rounds=3)
    parser.add_argument("--model", default=EMBEDDED, help=f"the model ({EMBEDDED})")
    options = parser.parse_args()
    worked, refusing = (
        read_context(_CONFIGS / f"{name}.yaml") for name in ("worked_examples", "over_cautious_examples")
    )
    samplings = {
        "plain": Sampling(32, 0.0, 200, PLAIN),
        "worked examples": Sampling(32, 0.3, 200, worked),
        "refusals alone": Sampling(16, 0.3, 200, refusing),
    }
    folder = resolve_model(options.model, cache_dir=options.models)
    engines = {
        name: TransformersEngine(
            model_path=folder, threads=options.threads, batch_size=options.count, share_heads=share
        )
        for name, share in _WAYS.items()
    }
    policy = Policy(engines["once"].base_digest)
    prompts = sorted(load_bank(["direct"]), key=lambda prompt: prompt.digest)[: options.count]
    threads = torch.get_num_threads()
    print(f"{len(prompts)} questions a batch, {threads} threads, {options.rounds} rounds of each way")
    slower = False
    for what, sampling in samplings.items():
        asks = [Ask(prompt, sampling, seed_from("benchmark", prompt.digest)) for prompt in prompts]
        texts: dict[str, list[str]] = {}

        def answer(name: str, asks: Sequence[Ask] = asks, texts: dict[str, list[str]] = texts) -> None:
            texts[name] = [answer.text for answer in engines[name].generate(policy, asks)]

        fastest = fastest_rounds(what, {name: partial(answer, name) for name in _WAYS}, options.rounds)
        ratio = fastest["once a row"] / fastest["once"]
        slower |= ratio < 1
        same = sum(one == other for one, other in zip(texts["once a row"], texts["once"], strict=True))
        print(
            f"{what:>16}: {fastest['once a row']:6.2f} s once a row, {fastest['once']:6.2f} s once, "
            f"{ratio:.2f} times as fast; {same} of {len(prompts)} answers the same"
        )
    return int(slower)


if __name__ == "__main__":
    sys.exit(main())
