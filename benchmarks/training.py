"""Seconds of a DPO step our way, with each of its savings alone, and as TRL and PEFT do it, in one run.

    python benchmarks/training.py [--pairs N] [--batch-size N] [--answer-tokens N] [--rounds N] [--threads N]

*Shared*: what a batch's rows begin with is computed once, not in each row, and attention within its branches.
*Fused*: LoRA layers multiply in the base's type and add in the product. *Kept*: logits are computed once, not
again for the gradient. *Written*: a layer's gradient is written out, on top of these. Same model, recipe (the
embedded default's), pairs (the project's own prompts and labelled answers) and seed; all ways train the same
fresh LoRA adapter for two passes, after the reference, whose time is counted in. Rounds alternate, so that a
busy machine slows all alike. Exit status 0 where ours is the faster way and the first losses agree.
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
_EPOCHS = 2  # more than one: the reference is then computed before the steps, as in a cycle
_PLAIN, _OURS = "TRL and PEFT", "all four"
_WAYS: dict[str, frozenset[str]] = {
    _PLAIN: frozenset(),
    "shared": frozenset({"shared"}),
    "fused": frozenset({"fused"}),
    "kept": frozenset({"kept"}),
    "these three": frozenset({"shared", "fused", "kept"}),
    _OURS: frozenset({"shared", "fused", "kept", "written"}),
}


def main() -> int:
    """Starts itself anew with the allocator's settings of the training process."""
    from policies.engines.environment import compute_environment

    if "--inner" not in sys.argv:
        command = [sys.executable, __file__, "--inner", *sys.argv[1:]]
        return subprocess.run(command, env=compute_environment(), check=False).returncode  # noqa: S603
    options = _options()
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    rows = pairs(options.pairs)
    seconds = dict.fromkeys(_WAYS, 0.0)
    losses: dict[str, float] = {}
    for number in range(options.rounds):
        for name in list(_WAYS) if number % 2 == 0 else list(reversed(_WAYS)):
            spent, losses[name] = train(rows, options, _WAYS[name])
            seconds[name] += spent
            print(f"round {number + 1} of {options.rounds}: {name}, {spent:.1f} s", file=sys.stderr)
    steps = options.rounds * _EPOCHS * -(-len(rows) // options.batch_size)
    print(
        f"{len(rows)} pairs, batches of {options.batch_size}, {options.answer_tokens} tokens of each answer, "
        f"{torch.get_num_threads()} threads, {options.rounds} rounds of each way in turn"
    )
    plain = seconds[_PLAIN]
    for name in _WAYS:
        print(
            f"{name:>16}: {seconds[name] / steps:6.3f} s a step, first loss {losses[name]:.4f}, "
            f"{plain / seconds[name]:.2f} times as fast as {_PLAIN}"
        )
    apart = max(abs(loss - losses[_PLAIN]) / losses[_PLAIN] for loss in losses.values())
    print(f"the first losses differ by {100 * apart:.2f} % at most")
    return 0 if seconds[_OURS] < plain and apart < _AGREE else 1


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
            "harmful": False,
        }
        for row in all_labels()
        if row.harmful_level == 0 and row.label is Label.ACCEPT
    }
    return [rows[prompt] for prompt in sorted(rows)[:count]]


def train(
    rows: list[dict[str, Any]], options: argparse.Namespace, savings: frozenset[str]
) -> tuple[float, float]:
    """(seconds of two passes, the first loss)."""
    from trl.kernels import ChunkedLogProbFunction
    from trl.trainer import utils

    from policies.engines.lora import fuse_lora
    from policies.engines.models import model_digest, resolve_model
    from policies.training import dpo, shared_prefixes
    from policies.training.core import Progress, load_policy, score_completions_only
    from policies.training.recipe import Recipe, TrainingJob

    folder = resolve_model(options.model, cache_dir=options.models)
    with tempfile.TemporaryDirectory(prefix="primum-bench-") as scratch:
        job = TrainingJob(
            recipe=Recipe(
                "dpo",
                epochs=_EPOCHS,
                batch_size=options.batch_size,
                answer_tokens=options.answer_tokens,
                decision_tokens=1,
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
        if "kept" not in savings:
            utils._ChunkedLogProbFunction = ChunkedLogProbFunction
        model, tokenizer, lora = load_policy(job)
        way, writing = dpo.share_prefixes, shared_prefixes.write_out_layers
        if "shared" not in savings:
            dpo.share_prefixes = _share_nothing
        if "written" not in savings:
            shared_prefixes.write_out_layers = _write_out_nothing
        try:
            progress = Progress(lambda _event: None)
            began = time.monotonic()
            trainer = dpo.build(job, model, tokenizer, lora, rows, Path(scratch), progress)
            seconds = time.monotonic() - began  # of the reference, mostly
            if "fused" in savings:
                fuse_lora(trainer.model)
            loss = _loss_of_first_rows(trainer, options.batch_size)
            began = time.monotonic()
            trainer.train()
            return seconds + time.monotonic() - began, loss
        finally:
            dpo.share_prefixes, shared_prefixes.write_out_layers = way, writing


def _share_nothing(_model: Any) -> None:
    return None


def _write_out_nothing(_decoder: Any) -> int:
    return 0


def _loss_of_first_rows(trainer: Any, count: int) -> float:
    """Batches differ: unpacked rows are grouped by length, packed ones are not. These are the same rows."""
    import torch

    rows = [trainer.train_dataset[n] for n in range(count)]
    with torch.no_grad():
        return float(
            trainer.compute_loss(trainer.model, trainer._prepare_inputs(trainer.data_collator(rows)))
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=48, help="pairs (48)")
    parser.add_argument("--batch-size", type=int, default=8, help="pairs a step (8)")
    parser.add_argument("--answer-tokens", type=int, default=10, help="first tokens learnt from (10)")
    parser.add_argument("--frozen-layers", type=int, default=10, help="layers without LoRA (10)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of each way (2)")
    parser.add_argument("--threads", type=int, default=None, help="torch's own choice unless given")
    parser.add_argument("--model", default="embedded:smollm2-135m")
    parser.add_argument("--models", type=Path, default=Path("data/models"), help="where it is converted")
    parser.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
