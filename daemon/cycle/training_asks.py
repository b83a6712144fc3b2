"""How the deployed policy is asked for training data: plainly, and under examples where that says more.

A pair needs two answers that the CARES table tells apart. So the plain answer is judged first: only where it
left the other side of a pair open is the policy asked again, under worked examples; where refusals may be
borrowed, for some of those prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from policies.cares import Label, is_desirable
from policies.digests import seed_from
from policies.errors import ConfigurationError
from policies.records import PLAIN, Ask, Context, Judged, Prompt, Sampling


@dataclass(frozen=True)
class TrainingSampling:
    """What is asked of the deployed policy before training.

    `worked`: examples under which it refuses what is harmful; `over_cautious`: under which it refuses
    anything. Plain answers may be `plain_tokens` long, to harmful prompts `plain_harmful_tokens`, those under
    `worked` `contrast_tokens` and those under `over_cautious` `over_cautious_tokens`; `temperature` is that
    of answers under examples, `harmless_temperature` that of plain answers to harmless prompts. With
    `prefer_refusals` caution about a harmful prompt leaves room for a refusal, and with `settle_for_caution`
    caution about a harmless one for a refusal that is worse, even where the CARES table scores both alike. Of
    harmful and of harmless prompts at most `contrast_prompts` each are asked under examples; None for all.
    """

    worked: Context
    over_cautious: Context
    plain_tokens: int
    plain_harmful_tokens: int
    contrast_tokens: int
    over_cautious_tokens: int
    temperature: float
    harmless_temperature: float
    top_k: int
    harmless_tries: int = 1
    contrast_prompts: int | None = None
    prefer_refusals: bool = False
    settle_for_caution: bool = False

    def plain(self, prompts: Sequence[Prompt]) -> list[Ask]:
        """The plain question to each prompt, the same in every cycle.

        Harmful prompts at temperature 0, for what people meet; harmless ones at `harmless_temperature`, since
        their good answers are learnt from and learning from greedy answers narrows the policy.
        """
        harmful = Sampling(self.plain_harmful_tokens, 0.0, self.top_k, PLAIN)
        spread = self._spread
        return [
            Ask(prompt, harmful, 0)
            if prompt.harmful_level
            else Ask(prompt, spread, seed_from("plain", prompt.digest) if spread.temperature else 0)
            for prompt in prompts
        ]

    def again(self, judged: Sequence[Judged], *, attempt: int) -> list[Ask]:
        """The plain question once more to each harmless prompt none of whose answers was accepted.

        About half of a small model's answers to harmless questions are accepted; a second answer costs less
        than a second prompt, which somebody has to write. Nothing where answers are greedy.
        """
        if not self.harmless_temperature:
            return []
        accepted = {one.prompt.digest for one in judged if one.verdict.label is Label.ACCEPT}
        waiting = {
            one.prompt.digest: one.prompt
            for one in judged
            if one.prompt.harmful_level == 0 and one.verdict.label is not None
        }
        return [
            Ask(prompt, self._spread, seed_from("plain", digest, attempt))
            for digest, prompt in waiting.items()
            if digest not in accepted
        ]

    def contrasts(self, judged: Sequence[Judged], *, seed: int) -> list[Ask]:
        """One question under examples to each prompt whose plain answer lacks its counterpart.

        A harmful prompt that was not declined is asked under `worked`, for what should have been said; a
        harmless one that was answered under `over_cautious`, for what should not be said. A harmless prompt
        whose plain answer is not wanted (nor settled for) gives no pair whatever else is said to it, and an
        unscored answer none that could be told from it: neither is asked again.
        """
        lacking = {one.prompt.digest: one.prompt for one in judged if self._lacks_other_side(one)}
        asks = [
            Ask(prompt, self._under(prompt), seed_from(seed, digest)) for digest, prompt in lacking.items()
        ]
        kinds = (
            [ask for ask in asks if harmful is (ask.prompt.harmful_level > 0)] for harmful in (True, False)
        )
        drawn = {
            ask for kind in kinds for ask in sorted(kind, key=lambda ask: ask.seed)[: self.contrast_prompts]
        }
        return [ask for ask in asks if ask in drawn]

    def _lacks_other_side(self, one: Judged) -> bool:
        level, label = one.prompt.harmful_level, one.verdict.label
        if label is None:
            return False
        if level and self.prefer_refusals:
            return label is not Label.REFUSE
        if level == 0 and self.settle_for_caution:
            return label is not Label.REFUSE
        return is_desirable(level, label) is (level == 0)

    @property
    def _spread(self) -> Sampling:
        return Sampling(self.plain_tokens, self.harmless_temperature, self.top_k, PLAIN)

    def _under(self, prompt: Prompt) -> Sampling:
        examples, tokens = (
            (self.worked, self.contrast_tokens)
            if prompt.harmful_level
            else (self.over_cautious, self.over_cautious_tokens)
        )
        return Sampling(tokens, self.temperature, self.top_k, examples)


def read_context(path: Path) -> Context:
    """Worked examples from a YAML file of `name` and `messages`. ConfigurationError names what is wrong."""
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        messages = tuple((message["role"], message["content"].strip()) for message in raw["messages"])
        context = Context(str(raw["name"]), messages)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"worked examples {path}: must hold name and messages with role and content ({error})"
        ) from error
    roles = [role for role, _ in messages]
    body = roles[1:] if roles[:1] == ["system"] else roles
    if body != ["user", "assistant"] * (len(body) // 2) or not body:
        raise ConfigurationError(f"worked examples {path}: user and assistant messages must alternate")
    return context
