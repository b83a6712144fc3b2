"""DPO (arXiv 2305.18290) by TRL, with an NLL term on the chosen answer.

Plain DPO may lower the rejected answer and raise nothing; the NLL term is what makes refusals likely.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import DPOConfig

from policies.training.core import Progress, common_arguments
from policies.training.recipe import TrainingJob
from policies.training.shared_prefixes import share_prefixes
from policies.training.trainers import KIND, OpenEndedDPOTrainer

_REFERENCE_BATCH = 16  # pairs; no gradients are kept


def build(
    job: TrainingJob,
    model: Any,
    tokenizer: Any,
    lora: Any,
    rows: list[dict[str, Any]],
    scratch: Path,
    progress: Progress,
) -> Any:
    """A DPOTrainer over rows with `prompt`, `chosen`, `rejected`, `chosen_cut`, `rejected_cut`, `harmful`."""
    data = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": row["prompt"]}],
                "chosen": [{"role": "assistant", "content": row["chosen"]}],
                "rejected": [{"role": "assistant", "content": row["rejected"]}],
                "chosen_cut": bool(row["chosen_cut"]),
                "rejected_cut": bool(row["rejected_cut"]),
                KIND: bool(row["harmful"]),
            }
            for row in rows
        ]
    )
    prefixes = share_prefixes(model)
    weight, decision = job.recipe.sft_weight, job.recipe.decision_tokens
    arguments = DPOConfig(
        loss_type=["sigmoid", "sft"] if weight else ["sigmoid"],
        loss_weights=[1.0, weight] if weight else [1.0],
        train_sampling_strategy="random" if prefixes else "group_by_length",  # packed rows have no padding
        ld_alpha=0.0 if decision else None,  # what the longer answer has beyond the shorter is not contrasted
        # The reference does not move; once is enough.
        precompute_ref_log_probs=job.recipe.epochs > 1 or job.recipe.reference_weight != 1,
        precompute_ref_batch_size=_REFERENCE_BATCH,
        **common_arguments(job.recipe, scratch=scratch, seed=job.seed),
    )
    return OpenEndedDPOTrainer(
        model,
        args=arguments,
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[progress],
        first=job.recipe.answer_tokens,
        whole_share=job.recipe.whole_share,
        decision=decision,
        reference_weight=job.recipe.reference_weight,
        prefixes=prefixes,
    )
