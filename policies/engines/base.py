"""Who answers. An engine serves a base model and any of its LoRA adapters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from policies.records import Ask, Policy, Response


class Engine(Protocol):
    """One base model, any number of adapters of it.

    `generate` yields each response as soon as it exists, in any order, exactly one for every ask that could
    be answered; what cannot be answered raises EngineError after the finished ones were yielded.
    """

    @property
    def base_digest(self) -> str:
        """Address of the base model's weights, tokenizer and chat template."""
        ...

    def generate(self, policy: Policy, asks: Sequence[Ask]) -> Iterator[Response]: ...

    def fidelity(self, policy: Policy, references: Sequence[tuple[str, str]]) -> tuple[float, float] | None:
        """(perplexity, mean KL(policy ‖ base) in nats a token) over the answers of (prompt, answer) pairs.

        None where there are no references or the engine cannot measure it; it then says why in a warning.
        """
        ...

    def close(self) -> None: ...
