"""Seconds of a DPO step with a pair's prompt computed once, against TRL's two rows a pair, in one run.

    python benchmarks/training.py [--pairs N] [--batch-size N] [--answer-tokens N] [--rounds N] [--threads N]

Same model, recipe, pairs (the project's own prompts and labelled answers) and seed; both ways train the same
fresh LoRA adapter. Rounds alternate, so that a busy machine slows both alike. Exit status 0 where sharing is
faster and the losses of both ways agree.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_AGREE = 0.02  # relative difference of the first losses: bf16 rounds differently in another order


def main() -> int:
    """Starts itself anew with the allocator's settings of the training process."""
    from policies.training.environment import training_environment

    if "--inner" not in sys.argv:
        command = [sys.executable, __file__, "--inner", *sys.argv[1:]]
        return subprocess.run(command, env=training_environment(), check=False).returncode  # noqa: S603
    options = _options()
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    rows = pairs(options.pairs)
    seconds: dict[bool, float] = {False: 0.0, True: 0.0}
    losses: dict[bool, float] = {}
    for number in range(options.rounds):
        for shared in (True, False) if number % 2 else (False, True):
            spent, losses[shared] = epoch(rows, options, shared=shared)
            seconds[shared] += spent
    steps = options.rounds * -(-len(rows) // options.batch_size)
    print(
        f"{len(rows)} pairs, batches of {options.batch_size}, {options.answer_tokens} tokens of each answer, "
        f"{torch.get_num_threads()} threads, {options.rounds} epochs of each way in turn"
    )
    for shared, name in ((True, "shared prompts"), (False, "two rows a pair")):
        print(f"{name:>16}: {seconds[shared] / steps:6.3f} s a step, first loss {losses[shared]:.4f}")
    ratio = seconds[False] / seconds[True]
    apart = abs(losses[True] - losses[False]) / losses[False]
    print(f"{ratio:.2f} times as fast; the first losses differ by {100 * apart:.2f} %")
    return 0 if ratio > 1 and apart < _AGREE else 1


def pairs(count: int) -> list[dict[str, Any]]:
    """Harmless shipped prompts with an accepted answer, against one and the same refusal."""
    from judges.shipped import all_labels
    from policies.cares import Label

    refusal = "I'm sorry, but I can't help with that. It could harm patients and break their trust."
    rows = {
        row.prompt: {
            "prompt": row.prompt,
            "chosen": row.answer,
            "rejected": refusal,
            "chosen_cut": True,
            "rejected_cut": False,
        }
        for row in all_labels()
        if row.harmful_level == 0 and row.label is Label.ACCEPT
    }
    return [rows[prompt] for prompt in sorted(rows)[:count]]


def epoch(rows: list[dict[str, Any]], options: argparse.Namespace, *, shared: bool) -> tuple[float, float]:
    """(seconds of one epoch of training, its first loss)."""
    from policies.engines.models import model_digest, resolve_model
    from policies.training import dpo
    from policies.training.core import Progress, load_policy, score_completions_only
    from policies.training.recipe import Recipe, TrainingJob

    folder = resolve_model(options.model, cache_dir=options.models)
    with tempfile.TemporaryDirectory(prefix="primum-bench-") as scratch:
        job = TrainingJob(
            recipe=Recipe(
                "dpo",
                batch_size=options.batch_size,
                answer_tokens=options.answer_tokens,
                frozen_layers=options.frozen_layers,
                beta=0.3,
                sft_weight=0.3,
            ),
            base_path=str(folder),
            base_digest=model_digest(folder),
            parent_adapter=None,
            parent_digest="",
            preferences_path="",
            preferences_digest="",
            output_dir=scratch,
            seed=0,
        )
        score_completions_only()
        model, tokenizer, lora = load_policy(job)
        way, dpo.share_prompts = dpo.share_prompts, dpo.share_prompts if shared else lambda _model: False
        try:
            progress = Progress(lambda _event: None)
            trainer = dpo.build(job, model, tokenizer, lora, rows, Path(scratch), progress)
            began = time.monotonic()
            trainer.train()
            return time.monotonic() - began, progress.curve[0]["loss"]
        finally:
            dpo.share_prompts = way


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=48, help="pairs (48)")
    parser.add_argument("--batch-size", type=int, default=2, help="pairs a step (2)")
    parser.add_argument("--answer-tokens", type=int, default=24, help="first tokens learnt from (24)")
    parser.add_argument("--frozen-layers", type=int, default=10, help="layers without LoRA (10)")
    parser.add_argument("--rounds", type=int, default=2, help="epochs of each way (2)")
    parser.add_argument("--threads", type=int, default=None, help="torch's own choice unless given")
    parser.add_argument("--model", default="embedded:smollm2-135m")
    parser.add_argument("--models", type=Path, default=Path("data/models"), help="where it is converted")
    parser.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
