"""An engine without a model that counts what it is asked and can die midway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from policies.records import Ask, Policy, Response


class ScriptedEngine:
    """Answers `text(ask)`, longest prompt first. `dies_after` so many answers in all, with `error`."""

    base_digest = "b" * 64

    def __init__(
        self,
        *,
        text: Callable[[Ask], str] = lambda ask: f"answer to {ask.prompt.text}",
        dies_after: int | None = None,
        error: BaseException | None = None,
    ) -> None:
        self._text, self._dies_after, self._error = text, dies_after, error
        self.asked: Counter[str] = Counter()
        self.closed = False

    def generate(self, policy: Policy, asks: Sequence[Ask]) -> Iterator[Response]:
        for ask in sorted(asks, key=lambda ask: -len(ask.prompt.text)):
            if self._dies_after is not None and self.asked.total() >= self._dies_after:
                raise self._error or RuntimeError("the machine went away")
            self.asked[ask.key(policy.digest)] += 1
            yield Response(
                key=ask.key(policy.digest),
                policy_digest=policy.digest,
                prompt_digest=ask.prompt.digest,
                sampling_digest=ask.sampling.digest,
                context_name=ask.sampling.context.name,
                seed=ask.seed,
                text=self._text(ask),
                finish_reason="stop",
                tokens=3,
            )

    def fidelity(self, policy: Policy, references: Sequence[tuple[str, str]]) -> tuple[float, float] | None:
        """It has no probabilities to tell of."""
        return None

    def close(self) -> None:
        self.closed = True
