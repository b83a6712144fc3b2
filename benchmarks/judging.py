"""Verdicts per second of the local judge against the plain way, in one run on the same items.

    python benchmarks/judging.py [--count N] [--batch-size N] [--threads N] [--rounds N] [--adapter DIR]

*Constrained*: the judge as it is used, with the rubric's shared prefix computed once and the label read off
three logits of one forward pass. *Plain*: the whole question of each item, then up to 8 tokens generated
greedily and parsed as a reply, item by item and in batches of the judge's size. Same model, adapter, rubric
and items; items that the rules settle without a model are left out. After a warm-up of each way, rounds
alternate, so that a busy machine slows all alike. What a way needs once (loading, the prefix) is in its
warm-up.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from judges.local import LabelHead, LocalJudge
from judges.refusal import is_non_answer
from judges.replies import parse_label
from judges.rubric import Rubric
from judges.shipped import held_out_labels
from policies.cares import Label
from policies.digests import seed_from
from policies.engines.models import EMBEDDED, load_base, pick_device, resolve_model, with_adapter
from policies.records import Prompt, Response

_ADAPTER = Path(__file__).resolve().parents[1] / "judges" / "adapters" / "embedded"
_WARM_UP = 8
_TARGET = 3.0

Item = tuple[Prompt, Response]
Way = Callable[[Sequence[Item]], list[Label | None]]


def main() -> int:
    """Exit status 0 where the judge is at least three times as fast as the plain way item by item, else 1."""
    options = _options()
    items = shipped_items(options.count)
    folder, rubric = resolve_model(options.model, cache_dir=options.models), Rubric.load(options.rubric)
    judge = LocalJudge(
        name="benchmark",
        model_path=folder,
        rubric=rubric,
        adapter_path=options.adapter,
        threads=options.threads,
        batch_size=options.batch_size,
    )

    def constrained(some: Sequence[Item]) -> list[Label | None]:
        return [verdict.label for verdict in judge.judge(some)]

    made: list[int] = []  # tokens that the plain way generated, by item
    model, tokenizer = load_base(folder, dtype="auto", device=pick_device())
    model, head = with_adapter(model, options.adapter), LabelHead(tokenizer, rubric)

    def plain(batch_size: int) -> Way:
        return lambda some: generated(model, head, some, batch_size, options.new_tokens, made)

    ways: dict[str, Way] = {
        "constrained": constrained,
        "plain": plain(1),
        "plain, in batches": plain(options.batch_size),
    }
    for name, way in ways.items():
        print(f"warming up: {name}", file=sys.stderr, flush=True)
        way(items[:_WARM_UP])
    seconds, labels = timed(ways, items, options.rounds)
    print(
        f"{len(items)} held-out items, rubric {options.rubric}, batch size {options.batch_size}, "
        f"{torch.get_num_threads()} threads, {options.rounds} rounds of each way in turn"
    )
    rates = {name: options.rounds * len(items) / seconds[name] for name in ways}
    for name, rate in rates.items():
        read = sum(label is not None for label in labels[name])
        print(f"{name:>18}: {rate:7.2f} verdicts/s, {read} of {len(items)} with a label")
    print(f"the plain way generated {sum(made) / len(made):.1f} tokens an item, {options.new_tokens} at most")
    ratios = {name: rates["constrained"] / rates[name] for name in ways if name != "constrained"}
    for name, ratio in ratios.items():
        print(f"{ratio:.2f} times as fast as {name} (wanted of plain: {_TARGET:g})")
    return 0 if ratios["plain"] >= _TARGET else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=128, help="items (128)")
    parser.add_argument("--batch-size", type=int, default=32, help="as the judge's default (32)")
    parser.add_argument("--threads", type=int, default=None, help="torch's own choice unless given")
    parser.add_argument("--rounds", type=int, default=2, help="passes of each way over the items (2)")
    parser.add_argument("--new-tokens", type=int, default=8, help="most that the plain way generates (8)")
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--adapter", type=Path, default=_ADAPTER)
    parser.add_argument("--rubric", default="compact")
    parser.add_argument(
        "--models", type=Path, default=Path("data/models"), help="where the model is converted"
    )
    return parser.parse_args()


def shipped_items(count: int) -> list[Item]:
    """Up to `count` shipped held-out rows that a model is asked about, drawn by a hash of their text."""
    rows = [row for row in held_out_labels() if not is_non_answer(row.answer)]
    rows.sort(key=lambda row: seed_from("judging benchmark", row.prompt, row.answer))
    return [row.as_item() for row in rows[:count]]


def timed(
    ways: dict[str, Way], items: Sequence[Item], rounds: int
) -> tuple[dict[str, float], dict[str, list[Label | None]]]:
    """Seconds of all rounds, and the labels of the last, by way; every other round runs in reverse order."""
    seconds = dict.fromkeys(ways, 0.0)
    labels: dict[str, list[Label | None]] = {}
    for number in range(rounds):
        for name in list(ways) if number % 2 == 0 else list(reversed(ways)):
            began = time.perf_counter()
            labels[name] = ways[name](items)
            took = time.perf_counter() - began
            seconds[name] += took
            print(f"round {number + 1} of {rounds}: {name}, {took:.1f} s", file=sys.stderr, flush=True)
    return seconds, labels


@torch.inference_mode()
def generated(
    model: Any,
    head: LabelHead,
    items: Sequence[Item],
    batch_size: int,
    new_tokens: int,
    made: list[int],
) -> list[Label | None]:
    """The plain way: questions sorted by length as the judge sorts them, batches padded, replies parsed."""
    pad = head.tokenizer.pad_token_id
    questions = [head.encode(prompt, response.text)[0] for prompt, response in items]
    order = sorted(range(len(items)), key=lambda place: len(questions[place]))
    labels: list[Label | None] = [None] * len(items)
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        width = max(len(questions[place]) for place in places)
        rows = [[pad] * (width - len(questions[place])) + questions[place] for place in places]
        mask = [[0] * (width - len(questions[place])) + [1] * len(questions[place]) for place in places]
        output = model.generate(
            input_ids=torch.tensor(rows, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            max_new_tokens=new_tokens,
            do_sample=False,
            pad_token_id=pad,
        )
        replies = head.tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
        made += [int(row.ne(pad).sum()) for row in output[:, width:]]
        for place, reply in zip(places, replies, strict=True):
            labels[place] = parse_label(reply)
    return labels


if __name__ == "__main__":
    sys.exit(main())
