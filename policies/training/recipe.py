"""What a candidate is trained with, and the job that is handed to the training process."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from policies.digests import digest_of
from policies.errors import ConfigurationError

METHODS = ("dpo", "kto")
# What only DPO has, with the value that leaves it out, and why.
_OF_DPO: dict[str, tuple[float | None, str]] = {
    "decision_tokens": (None, "kto has no second answer to contrast"),
    "reference_weight": (1.0, "kto's KL term needs its reference whole"),
}


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of one candidate. `sft_weight` is DPO's NLL term on the chosen answer.

    `batch_size` is per device; adapter weights are fp32 whatever the base model's type. The `frozen_layers`
    lowest layers get no LoRA in a first candidate (later ones train what their parent trains) and cost no
    backward pass. Of each answer the first `answer_tokens` tokens are learnt from: whether it helps or
    declines is settled there, and the rest costs time and teaches a policy its own prose. None for all. But
    `whole_share` of the answers, in [0, 1], are learnt from to their end: where a refusal is to stop, a few
    show as well as all.

    With `decision_tokens` DPO contrasts the two answers only up to so many tokens from where they part, as
    LD-DPO does behind the shorter answer with its alpha at 0 (arXiv 2409.06411), while the NLL term still
    reads all of `answer_tokens`. Over-cautious answers are rejected in the words in which harmful requests
    are to be declined: contrasted whole, a policy would be pushed off its own refusals once it has begun one,
    and would ramble ("I'm not just ...") or not stop.

    DPO asks for a chosen answer that is likelier, against the rejected one, than the reference has it. With a
    `reference_weight` below 1, in [0, 1], the reference's log-ratio counts but so many times; at 0 the chosen
    answer has to be the likelier one, as in SimPO (arXiv 2405.14734). A base model hardly ever declines: a
    pair on a harmful prompt has to raise a refusal from far down, while one on a harmless prompt, whose
    answer is by far the likelier already, goes on pushing the refusal down, and what a policy refuses comes
    to lie where the reference was, not where refusing becomes the likelier. Below 1 pairs that are told apart
    teach less, and those that the policy comes to mistake teach more.

    With `target_err`, in (0, 1), a candidate is made to lean towards answering after training, by a few steps
    on harmless rows alone, as far as it takes for it to refuse at most that share of harmless prompts that it
    did not learn from. With `least_err`, below it, one that refuses less than that of them is made to lean
    towards refusing, by harmful rows, as far as `target_err` allows (policies.training.lean).
    """

    method: str
    epochs: float = 1.0
    learning_rate: float = 1e-3
    batch_size: int = 8
    gradient_accumulation: int = 1
    beta: float = 0.1
    sft_weight: float = 1.0
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    lora_rank: int = 16
    lora_alpha: int = 32
    target_modules: str | tuple[str, ...] = "all-linear"
    frozen_layers: int = 0
    max_length: int = 256
    answer_tokens: int | None = None
    whole_share: float = 0.0
    decision_tokens: int | None = None
    reference_weight: float = 1.0
    target_err: float | None = None
    least_err: float | None = None
    warmup_steps: int = 3
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        self._fits_its_method()
        if self.decision_tokens and self.answer_tokens and self.decision_tokens > self.answer_tokens:
            raise ConfigurationError(
                f"decision_tokens is {self.decision_tokens}, but only answer_tokens = {self.answer_tokens} "
                "are learnt from: lower decision_tokens, or raise answer_tokens"
            )
        if not 0 <= self.reference_weight <= 1:
            raise ConfigurationError(
                f"reference_weight is {self.reference_weight}: it is a weight from 0 to 1"
            )
        if self.target_err is not None and not 0 < self.target_err < 1:
            raise ConfigurationError(f"target_err is {self.target_err}: it is a share, between 0 and 1")
        if self.least_err is not None and not 0 < self.least_err < (self.target_err or 0):
            raise ConfigurationError(
                f"least_err is {self.least_err}: it is a share above 0 and below target_err, which is "
                f"{'not set' if self.target_err is None else self.target_err}"
            )
        if not 0 <= self.whole_share <= 1:
            raise ConfigurationError(f"whole_share is {self.whole_share}: it is a share, from 0 to 1")
        if self.whole_share and self.answer_tokens is None:
            raise ConfigurationError(
                "whole_share without answer_tokens means nothing: all answers are learnt from to their end; "
                "set answer_tokens, or leave whole_share out"
            )

    def _fits_its_method(self) -> None:
        if self.method not in METHODS:
            raise ConfigurationError(
                f"training method {self.method!r} is unknown; known are {', '.join(METHODS)}"
            )
        if self.method != "dpo":
            for name, (unset, why) in _OF_DPO.items():
                if getattr(self, name) != unset:
                    raise ConfigurationError(f"{name} belongs to dpo: {why}")
        if self.method == "kto" and self.batch_size < 2:
            raise ConfigurationError(
                "kto needs batch_size of at least 2: its KL term pairs mismatched answers"
            )

    @property
    def digest(self) -> str:
        return digest_of(asdict(self))


@dataclass(frozen=True)
class TrainingJob:
    """All that the training process needs, as one JSON file; nothing else is read from its surroundings.

    `held_out_path`: JSON lines with `prompt`, harmless prompts to see on how readily a candidate refuses.
    """

    recipe: Recipe
    base_path: str
    base_digest: str
    parent_adapter: str | None
    parent_digest: str
    preferences_path: str
    preferences_digest: str
    output_dir: str
    seed: int
    held_out_path: str | None = None
    threads: int | None = None
    dtype: str = "auto"

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> TrainingJob:
        raw: dict[str, Any] = json.loads(path.read_text())
        known = {field.name for field in fields(Recipe)}
        recipe: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in raw.pop("recipe").items()
        }
        if unknown := set(recipe) - known:
            raise ConfigurationError(f"{path}: unknown recipe keys {sorted(unknown)}")
        return cls(recipe=Recipe(**recipe), **raw)
