"""The nouns of the loop, frozen. A change is a new record.

Prompt → Response → Verdict → Preference → Candidate → Scorecard → Decision → Release.
Keys are content addresses, so asking twice for the same thing finds the first answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from policies.cares import Label
from policies.digests import digest_of


@dataclass(frozen=True)
class Prompt:
    """One question to the policy. `base_prompt` groups rewrites of one another (the cluster)."""

    text: str
    harmful_level: int
    base_prompt: str
    principle_index: int | None = None
    method: str | None = None
    source: str = ""
    hard_benign: bool = False

    @cached_property
    def digest(self) -> str:
        """Address of what is asked and how it is scored; the source's name does not enter."""
        return digest_of([self.text, self.harmful_level, self.base_prompt, self.principle_index, self.method])


@dataclass(frozen=True)
class Context:
    """Messages before the prompt: none for the plain question, worked examples for on-policy safe answers."""

    name: str = "plain"
    messages: tuple[tuple[str, str], ...] = ()  # (role, content)


PLAIN = Context()


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters of one answer. Temperature 0 is greedy."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_k: int = 50
    context: Context = PLAIN

    @cached_property
    def digest(self) -> str:
        return digest_of(
            [
                self.max_new_tokens,
                self.temperature,
                self.top_k,
                self.context.name,
                list(self.context.messages),
            ]
        )


@dataclass(frozen=True)
class Policy:
    """A model that answers: a base model and, unless it is the base itself, a LoRA adapter."""

    base_digest: str
    adapter_digest: str | None = None
    adapter_path: Path | None = field(default=None, compare=False)

    @cached_property
    def digest(self) -> str:
        return digest_of([self.base_digest, self.adapter_digest])

    @property
    def adapter_name(self) -> str | None:
        """The unique, content-hashed name under which a server loads the adapter; None for the base."""
        return None if self.adapter_digest is None else f"primum-{self.adapter_digest[:16]}"


@dataclass(frozen=True)
class Ask:
    """A request to an engine."""

    prompt: Prompt
    sampling: Sampling
    seed: int

    def messages(self) -> list[dict[str, str]]:
        """OpenAI-shaped chat messages: the context, then the prompt."""
        history = [{"role": role, "content": content} for role, content in self.sampling.context.messages]
        return [*history, {"role": "user", "content": self.prompt.text}]

    def key(self, policy_digest: str) -> str:
        """The response's address: (policy, prompt, sampling, seed)."""
        return digest_of([policy_digest, self.prompt.digest, self.sampling.digest, self.seed])


@dataclass(frozen=True)
class Response:
    """An answer. `finish_reason` is `stop` or `length`."""

    key: str
    policy_digest: str
    prompt_digest: str
    sampling_digest: str
    context_name: str
    seed: int
    text: str
    finish_reason: str
    tokens: int

    @cached_property
    def answer_digest(self) -> str:
        """Address of what is judged: equal answers to the same prompt are judged once."""
        return digest_of([self.prompt_digest, self.text])


@dataclass(frozen=True)
class Verdict:
    """A safety judgment, or *unscored* with a reason: never a guess."""

    judge_digest: str
    prompt_digest: str
    answer_digest: str
    label: Label | None
    probabilities: Mapping[str, float] | None = None
    unscored_reason: str | None = None
    transcript: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    latency_s: float = 0.0
    truncated: bool = False

    def __post_init__(self) -> None:
        if (self.label is None) == (self.unscored_reason is None):
            raise ValueError("a verdict has either a label or a reason for having none")

    @cached_property
    def key(self) -> str:
        return digest_of([self.judge_digest, self.prompt_digest, self.answer_digest])


@dataclass(frozen=True)
class Judged:
    """A prompt with one answer and its verdict: what preferences and scorecards read."""

    prompt: Prompt
    response: Response
    verdict: Verdict


@dataclass(frozen=True)
class KtoExample:
    """One answer labelled desirable or undesirable (arXiv 2402.01306).

    `cut`: the token limit ended it, so it teaches nothing about where an answer ends. `harmful`: is the
    prompt of a level above 0? `borrowed`: it was said, and judged, of other prompts.
    """

    prompt: str
    completion: str
    desirable: bool
    prompt_digest: str
    cut: bool = False
    harmful: bool = False
    borrowed: bool = False


@dataclass(frozen=True)
class DpoPair:
    """Two answers to the same prompt (arXiv 2305.18290). `…_cut`: as in KtoExample.

    `harmful`: is the prompt of a level above 0, so that the chosen answer declines? `borrowed`: the refusal
    was said, and judged, of other prompts.
    """

    prompt: str
    chosen: str
    rejected: str
    prompt_digest: str
    chosen_cut: bool = False
    rejected_cut: bool = False
    harmful: bool = False
    borrowed: bool = False


@dataclass(frozen=True)
class Candidate:
    """A trained LoRA adapter, known by (parent, preferences, recipe); its policy is what it answers as."""

    method: str
    parent_digest: str
    preferences_digest: str
    recipe_digest: str
    policy: Policy
    card: Mapping[str, object] = field(default_factory=dict, compare=False)

    @cached_property
    def key(self) -> str:
        return digest_of([self.parent_digest, self.preferences_digest, self.recipe_digest])
