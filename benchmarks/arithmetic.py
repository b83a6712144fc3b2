"""Seconds of asking and of judging in fp32 and in bf16, in one run, and what `dtype: auto` takes here.

    python benchmarks/arithmetic.py [--count N] [--rounds N] [--threads N] [--models DIR]

Direct questions of the bank are asked greedily, 32 tokens each, and the answers judged by the shipped judge.
After a warm-up of each way rounds alternate, so that a busy machine slows both alike; the ratio is of the
fastest rounds. Where `auto` takes the slower one, set `model.dtype` and the judges' `dtype`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from rounds import fastest_rounds, options_of, start_as_a_worker

_ADAPTER = Path(__file__).resolve().parents[1] / "judges" / "adapters" / "embedded"
_TYPES = ("float32", "bfloat16")


def main() -> int:
    """Exit status 1 where what `auto` takes is slower at asking and at judging, else 0."""
    options = options_of(__doc__, count=144, rounds=2).parse_args()
    import torch

    from judges.local import LocalJudge
    from judges.rubric import Rubric
    from policies.engines.models import EMBEDDED, pick_device, pick_dtype, resolve_model
    from policies.engines.transformers_engine import TransformersEngine
    from policies.records import PLAIN, Ask, Policy, Sampling
    from policies.sources.bank import load_bank

    folder = resolve_model(EMBEDDED, cache_dir=options.models)
    prompts = sorted(load_bank(["direct"]), key=lambda prompt: prompt.digest)[: options.count]
    asks = [Ask(prompt, Sampling(32, 0.0, 1, PLAIN), 0) for prompt in prompts]
    engines = {
        name: TransformersEngine(model_path=folder, threads=options.threads, dtype=name, share_heads=True)
        for name in _TYPES
    }
    rubric = Rubric.load("compact")
    judges = {
        name: LocalJudge(name=name, model_path=folder, rubric=rubric, adapter_path=_ADAPTER, dtype=name)
        for name in _TYPES
    }
    policy, known = Policy(engines["float32"].base_digest), {prompt.digest: prompt for prompt in prompts}
    answers = list(engines["float32"].generate(policy, asks))
    items = [(known[answer.prompt_digest], answer) for answer in answers]
    works = {
        "asking": {name: partial(_all, engine.generate, policy, asks) for name, engine in engines.items()},
        "judging": {name: partial(_all, judge.judge, items) for name, judge in judges.items()},
    }
    taken = str(pick_dtype("auto", pick_device())).removeprefix("torch.")
    print(f"{len(prompts)} questions, {torch.get_num_threads()} threads; auto takes {taken} here")
    slower = []
    for what, ways in works.items():
        seconds = fastest_rounds(what, ways, options.rounds)
        wide, narrow = (seconds[name] for name in _TYPES)
        slower.append(seconds[taken] > min(wide, narrow))
        print(f"{what:>8}: {wide:6.2f} s in fp32, {narrow:6.2f} s in bf16, {narrow / wide:.2f} times as long")
    return int(all(slower))


def _all(call: Callable[..., Iterable[object]], *given: object) -> list[object]:
    return list(call(*given))


if __name__ == "__main__":
    start_as_a_worker()
    sys.exit(main())
