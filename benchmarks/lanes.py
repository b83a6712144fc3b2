"""Seconds of asking and of judging with two batches side by side, against one on all cores, in one run.

    python benchmarks/lanes.py [--count N] [--rounds N] [--threads N] [--models DIR]

Direct questions of the bank are asked greedily, 40 tokens each, and the answers judged by the shipped judge.
*One lane* is a batch at a time on all threads, *two* is what is done on a CPU with two cores or more, each
on half of the threads (policies/engines/lanes.py), with as many rows at work. After a warm-up of each way
rounds alternate, so that a busy machine slows both alike; the ratio is of the fastest rounds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rounds import fastest_rounds, options_of, start_as_a_worker

_ADAPTER = Path(__file__).resolve().parents[1] / "judges" / "adapters" / "embedded"


def main() -> int:
    """Exit status 0 where neither asking nor judging is slower in lanes, else 1."""
    options = options_of(__doc__, count=144, rounds=2).parse_args()
    import torch

    from judges.local import LocalJudge
    from judges.rubric import Rubric
    from policies.engines.models import EMBEDDED, resolve_model
    from policies.engines.transformers_engine import TransformersEngine
    from policies.records import PLAIN, Ask, Policy, Sampling
    from policies.sources.bank import load_bank

    folder = resolve_model(EMBEDDED, cache_dir=options.models)
    engine = TransformersEngine(model_path=folder, threads=options.threads, share_heads=True)
    judge = LocalJudge(
        name="benchmark", model_path=folder, rubric=Rubric.load("compact"), adapter_path=_ADAPTER
    )
    if engine.lanes.count < 2:
        print("this machine has one lane; there is nothing to compare")
        return 0
    prompts = sorted(load_bank(["direct"]), key=lambda prompt: prompt.digest)[: options.count]
    asks = [Ask(prompt, Sampling(40, 0.0, 1, PLAIN), 0) for prompt in prompts]
    policy, known = Policy(engine.base_digest), {prompt.digest: prompt for prompt in prompts}
    answers = list(engine.generate(policy, asks))
    items = [(known[answer.prompt_digest], answer) for answer in answers]
    works: dict[str, Callable[[], object]] = {
        "asking": lambda: list(engine.generate(policy, asks)),
        "judging": lambda: list(judge.judge(items)),
    }

    def in_lanes(work: Callable[[], object], count: int) -> object:
        engine.lanes.count = judge.lanes.count = count
        return work()

    print(f"{len(prompts)} questions, {torch.get_num_threads()} threads, {options.rounds} rounds of each way")
    slower = False
    for what, work in works.items():
        ways = {"one": partial(in_lanes, work, 1), "two": partial(in_lanes, work, 2)}
        seconds = fastest_rounds(what, ways, options.rounds)
        one, two = seconds["one"], seconds["two"]
        slower |= one < two
        print(f"{what:>8}: {one:6.2f} s in one lane, {two:6.2f} s in two, {one / two:.2f} times as fast")
    return int(slower)


if __name__ == "__main__":
    start_as_a_worker()
    sys.exit(main())
