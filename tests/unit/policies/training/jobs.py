"""Training jobs on the tiny model, made in a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from policies.digests import digest_of
from policies.engines.adapters import adapter_digest
from policies.engines.models import model_digest
from policies.records import Policy
from policies.training.recipe import Recipe, TrainingJob

ROWS: dict[str, list[dict[str, Any]]] = {
    "dpo": [
        {
            "prompt": f"question {n}?",
            "chosen": f"I won't say {n}.",
            "rejected": f"Take {n} of them.",
            "chosen_cut": False,
            "rejected_cut": n % 2 == 0,
            "harmful": n % 3 == 0,
        }
        for n in range(12)
    ],
    "kto": [
        {
            "prompt": f"question {n}?",
            "completion": f"answer {n}.",
            "desirable": n % 2 == 0,
            "cut": n % 3 == 0,
            "harmful": n % 4 < 2,
        }
        for n in range(12)
    ],
}


def job(folder: Path, model: Path, method: str, *, parent: Path | None = None, **recipe: Any) -> TrainingJob:
    """Three steps of four rows, everything below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = folder / f"{method}.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS[method]))
    base = model_digest(model)
    settings = {"batch_size": 4, "learning_rate": 2e-2, "lora_rank": 4, "max_length": 128, "warmup_steps": 0}
    return TrainingJob(
        recipe=Recipe(method, **(settings | recipe)),
        base_path=str(model),
        base_digest=base,
        parent_adapter=str(parent) if parent else None,
        parent_digest=Policy(base, adapter_digest(parent) if parent else None).digest,
        preferences_path=str(rows),
        preferences_digest=digest_of(ROWS[method]),
        output_dir=str(folder / "candidate"),
        seed=7,
        threads=1,
        dtype="float32",
    )
