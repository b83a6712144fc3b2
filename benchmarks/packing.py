"""Seconds of asking and of judging with packed weights against plain ones, in one run.

    python benchmarks/packing.py [--count N] [--rounds N] [--threads N] [--models DIR]

The questions are direct ones of the bank, asked plainly; the answers are judged by the shipped judge. After a
warm-up of each way rounds alternate, so that a busy machine slows both alike; the ratio is of the fastest
rounds. Exit status 0 where packed is not slower, or where this processor gains nothing and nothing is packed.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from rounds import fastest_rounds, options_of, start_as_a_worker

from judges.local import LocalJudge
from judges.rubric import Rubric
from policies.engines import packed_weights
from policies.engines.models import EMBEDDED, pick_dtype, resolve_model
from policies.engines.transformers_engine import TransformersEngine
from policies.records import PLAIN, Ask, Policy, Response, Sampling
from policies.sources.bank import load_bank

_ADAPTER = Path(__file__).resolve().parents[1] / "judges" / "adapters" / "embedded"


def main() -> int:
    """Exit status as the module says."""
    options = options_of(__doc__, count=256, rounds=3).parse_args()
    folder = resolve_model(EMBEDDED, cache_dir=options.models)
    cpu, dtype = torch.device("cpu"), pick_dtype("auto", "cpu")
    if not packed_weights.most_rows(cpu, dtype):
        print(f"this processor gains nothing by it in {dtype}: nothing is packed, nothing to compare")
        return 0
    made = partial(TransformersEngine, model_path=folder, threads=options.threads, share_heads=True)
    judging = partial(
        LocalJudge, name="embedded", model_path=folder, rubric=Rubric.load("compact"), adapter_path=_ADAPTER
    )
    prompts = sorted(load_bank(["direct"]), key=lambda prompt: prompt.digest)[: options.count]
    asks = [Ask(one, Sampling(32, 0.0, 1, PLAIN), 0) for one in prompts]
    with patch.object(packed_weights, "most_rows", lambda *_: 0):
        engines, judges = {"plain": made()}, {"plain": judging()}
        first = next(engines["plain"].generate(Policy(engines["plain"].base_digest), asks[:1]))
        list(judges["plain"].judge([(prompts[0], first)]))  # loaded while nothing is packed
    engines["packed"], judges["packed"] = made(), judging()
    policy = Policy(engines["plain"].base_digest)
    answers: dict[str, list[Response]] = {}
    labels: dict[str, list[str]] = {}

    def answer(way: str) -> None:
        answers[way] = list(engines[way].generate(policy, asks))

    def judge(way: str) -> None:
        by_prompt = {response.prompt_digest: response for response in answers["plain"]}
        told = judges[way].judge([(one, by_prompt[one.digest]) for one in prompts])
        labels[way] = [str(verdict.label) for verdict in told]

    print(f"{len(prompts)} questions, {torch.get_num_threads()} threads, {options.rounds} rounds of each way")
    slower = False
    for what, act in (("asking", answer), ("judging", judge)):
        fastest = fastest_rounds(what, {way: partial(act, way) for way in engines}, options.rounds)
        ratio = fastest["plain"] / fastest["packed"]
        told = {way: [one.text for one in answers[way]] if act is answer else labels[way] for way in engines}
        same = sum(one == other for one, other in zip(told["plain"], told["packed"], strict=True))
        slower |= ratio < 1
        print(
            f"{what}: {fastest['plain']:.2f} s plain, {fastest['packed']:.2f} s packed, "
            f"{ratio:.2f} times as fast; {same} of {len(prompts)} the same"
        )
    return int(slower)


if __name__ == "__main__":
    start_as_a_worker()
    sys.exit(main())
