"""Hand-made experiments: prompts of all levels, policies with known labels, and evidence in good order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from policies.cares import LABELS, METHODS, Label
from policies.records import Judged, Prompt, Response, Verdict
from policies.validation.config import GateConfig, load_gates
from policies.validation.evidence import Answers, Evidence, JudgeEvidence

GATES_FILE = Path(__file__).resolve().parents[4] / "configs" / "gates.yaml"
CONFIG = load_gates(GATES_FILE).with_resamples(300)
GOOD_CONFUSION = {str(level): [[190, 6, 4], [6, 188, 6], [3, 7, 190]] for level in range(4)}
WORDS = {
    Label.ACCEPT: "Here is what you should know about this, and how to take it with your meals.",
    Label.CAUTION: "It depends on your case, so please talk to a doctor before you do anything about it.",
    Label.REFUSE: "I can't help with that, because it would be likely to do harm to you or to others.",
}
Labeller = Callable[[Prompt, float], Label | None]  # prompt, luck from 0 to 1


def prompts(count: int = 120, *, start: int = 0, rewrites: int = 1) -> list[Prompt]:
    """`count` prompts of which 45 % are harmless, half of these hard benign."""
    levels = [0, 1, 0, 2, 0, 3, 0, 2, 0, 1, 3, 0, 2, 0, 3, 0, 1, 0, 2, 3]
    return [
        Prompt(
            text=f"question {number} number {start}",
            harmful_level=levels[(number // rewrites) % 20],
            base_prompt=f"base {start + number // rewrites}",
            principle_index=(number // rewrites) % 8,
            method=METHODS[number % 4],
            hard_benign=number % 4 == 0,
        )
        for number in range(start, start + count)
    ]


def judged(
    asked: Sequence[Prompt], labeller: Labeller, *, seed: int = 1, who: str = "p"
) -> tuple[Judged, ...]:
    """Answers to `asked`; `labeller` says how each is labelled. The same seed gives the same luck."""
    luck = np.random.default_rng(seed).random(len(asked))
    return tuple(
        answer(prompt, labeller(prompt, chance), who) for prompt, chance in zip(asked, luck, strict=True)
    )


def answer(prompt: Prompt, label: Label | None, who: str = "p", text: str | None = None) -> Judged:
    words = WORDS[label or Label.ACCEPT] + f" ({who})" if text is None else text
    response = Response(
        key=f"{who}-{prompt.digest}",
        policy_digest=who,
        prompt_digest=prompt.digest,
        sampling_digest="greedy",
        context_name="plain",
        seed=0,
        text=words,
        finish_reason="stop",
        tokens=len(words.split()),
    )
    verdict = Verdict(
        judge_digest="judge",
        prompt_digest=prompt.digest,
        answer_digest=response.answer_digest,
        label=label,
        unscored_reason="nothing to parse" if label is None else None,
    )
    return Judged(prompt, response, verdict)


def weak(prompt: Prompt, luck: float) -> Label:
    """Answers harmless prompts and most harmful ones."""
    return Label.REFUSE if prompt.harmful_level > 0 and luck < 0.2 else Label.ACCEPT


def strong(prompt: Prompt, luck: float) -> Label:
    """Refuses most harmful requests and answers harmless questions."""
    return Label.REFUSE if prompt.harmful_level > 0 and luck < 0.8 else Label.ACCEPT


def always(label: Label | None) -> Labeller:
    return lambda _prompt, _luck: label


def seconds(answers: Sequence[Judged]) -> dict[str, Label]:
    """A second judge that agrees with the first."""
    return {item.response.answer_digest: item.verdict.label for item in answers if item.verdict.label}


def policy(
    role: str,
    key: str,
    labeller: Labeller,
    asked: Sequence[Prompt],
    sealed: Sequence[Prompt] | None = None,
    **other: Any,
) -> Answers:
    """A policy in good health whose second judge agrees."""
    mine = judged(asked, labeller, who=key)
    given: dict[str, Any] = {
        "second": seconds(mine),
        "sealed": None if sealed is None else judged(sealed, labeller, seed=2, who=key),
        "perplexity": 12.0,
        "kl_to_base": 0.2,
    }
    return Answers(role=role, key=key, name=key, judged=mine, **(given | other))


JUDGE = JudgeEvidence(
    name="validation-judge",
    digest="judge",
    trained_with="training-judge",
    calibrated=True,
    calibration_sentence="its κ is 0.85",
    confusion=GOOD_CONFUSION,
    sentinel_steady=True,
    sentinel_sentence="it agrees with 59 of 60 sentinel labels",
)


def evidence(*candidates: Answers, asked: Sequence[Prompt] | None = None, **other: Any) -> Evidence:
    """Evidence in which nothing is missing: a weak incumbent, and a base that is the same."""
    asked = prompts() if asked is None else asked
    sealed = prompts(start=1000)
    given: dict[str, Any] = {
        "incumbent": policy("incumbent", "old", weak, asked, sealed),
        "base": policy("base", "base", weak, asked),
        "judge": JUDGE,
        "cycle_number": 1,
        "seed": 7,
        "second_name": "refusal rules",
        "sealed_openings": 1,
    }
    return Evidence(candidates=candidates, **(given | other))


def good_candidate(key: str = "dpo", labeller: Labeller = strong, **other: Any) -> Answers:
    return policy("candidate", key, labeller, prompts(), prompts(start=1000), **other)


def with_label(item: Judged, label: Label | None, **verdict: Any) -> Judged:
    """The same answer under another verdict."""
    reason = "nothing to parse" if label is None else None
    return replace(item, verdict=replace(item.verdict, label=label, unscored_reason=reason, **verdict))


def gate_config(**gates: dict[str, Any]) -> GateConfig:
    """The shipped file with some gates' thresholds changed."""
    body = CONFIG.model_dump()
    for name, values in gates.items():
        body["gates"][name] |= values
    return GateConfig.model_validate(body)


def code(label: Label) -> int:
    return LABELS.index(label)
