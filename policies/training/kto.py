"""KTO (arXiv 2402.01306) by TRL: single answers, desirable or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import KTOConfig

from policies.training.core import Progress, common_arguments
from policies.training.recipe import TrainingJob
from policies.training.shared_prefixes import share_prefixes
from policies.training.trainers import KIND, OpenEndedKTOTrainer


def build(
    job: TrainingJob,
    model: Any,
    tokenizer: Any,
    lora: Any,
    rows: list[dict[str, Any]],
    scratch: Path,
    progress: Progress,
) -> Any:
    """A KTOTrainer over rows with `prompt`, `completion`, `desirable`, `cut`, `harmful`."""
    data = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": row["prompt"]}],
                "completion": [{"role": "assistant", "content": row["completion"]}],
                "label": bool(row["desirable"]),
                "cut": bool(row["cut"]),
                KIND: bool(row["harmful"]),
            }
            for row in rows
        ]
    )
    share_prefixes(model)
    arguments = KTOConfig(
        desirable_weight=job.recipe.desirable_weight,
        undesirable_weight=job.recipe.undesirable_weight,
        **common_arguments(job.recipe, scratch=scratch, seed=job.seed),
    )
    return OpenEndedKTOTrainer(
        model,
        args=arguments,
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[progress],
        first=job.recipe.answer_tokens,
        whole_share=job.recipe.whole_share,
    )
