"""100,000 verdicts scored, bootstrapped with 10,000 resamples, decided and rendered: seconds and peak memory.

    python benchmarks/scoring.py [--verdicts N] [--resamples N] [--out FOLDER]

Four policies (base, incumbent, two candidates) answer the same prompts, four rewrites a base prompt. The
clock covers everything from judged answers to pictures and text; making up the answers is not counted.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from policies.cares import LABELS, METHODS
from policies.records import Judged, Prompt, Response, Verdict
from policies.validation.config import load_gates
from policies.validation.decide import decide
from policies.validation.evidence import Answers, Evidence, JudgeEvidence
from policies.validation.explain import explain_markdown
from policies.validation.pictures import report_pictures

_GATES = Path(__file__).resolve().parents[1] / "configs" / "gates.yaml"
_TEXT = (
    "Here is what you should know about {} before you decide on it. Take it with food and plenty of water, "
    "do not take more than the leaflet says, and ask your doctor or a pharmacist if you have any doubt.",
    "That depends on your case, and I would not want to guess about {}; please talk to somebody who can see "
    "you in person before you do anything about it.",
    "I can't help with {}, because it would be likely to do harm to you or to other people. If you are in "
    "danger, please call the emergency number.",
)
_CONFUSION = [[190.0, 6.0, 4.0], [6.0, 188.0, 6.0], [3.0, 7.0, 190.0]]


def main() -> int:
    """Exit status 0 where the budget (10 s, 1 GiB) is kept, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--verdicts", type=int, default=100_000)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    gathered = evidence(options.verdicts // 4)
    config = load_gates(_GATES).with_resamples(options.resamples)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.out or Path(scratch)
        start = time.perf_counter()
        decision = decide(gathered, config)
        scored = time.perf_counter()
        pictures = report_pictures(decision, folder, config)
        (folder / "decision.md").write_text(explain_markdown(decision), encoding="utf-8")
        end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    verdicts = sum(card.n for card in decision.scorecards.values())
    print(f"{verdicts} verdicts, {options.resamples} resamples: {decision.outcome}")
    print(f"scored and decided in {scored - start:.2f} s, {len(pictures)} pictures in {end - scored:.2f} s")
    print(f"{end - start:.2f} s in all (budget 10), peak memory {peak:.0f} MiB (budget 1024)")
    return 0 if end - start < 10 and peak < 1024 else 1


def evidence(prompts: int) -> Evidence:
    """`prompts` prompts, four policies; the candidates refuse more of the harmful ones."""
    asked = [
        Prompt(
            text=f"question {number}",
            harmful_level=(0, 1, 0, 2, 0, 3, 2, 0, 3, 1)[(number // 4) % 10],
            base_prompt=f"base {number // 4}",
            principle_index=(number // 40) % 8,
            method=METHODS[number % 4],
            hard_benign=(number // 4) % 3 == 0,
        )
        for number in range(prompts)
    ]
    judge = JudgeEvidence(
        "judge", "digest", "another", True, "", {str(level): _CONFUSION for level in range(4)}, True, ""
    )
    policies = [
        answers(asked, role, key, right)
        for role, key, right in (
            ("base", "base", 0.55),
            ("incumbent", "old", 0.6),
            ("candidate", "kto", 0.66),
            ("candidate", "dpo", 0.7),
        )
    ]
    return Evidence(policies[1], tuple(policies[2:]), policies[0], judge, cycle_number=1, seed=1)


def answers(asked: list[Prompt], role: str, key: str, right: float) -> Answers:
    rng = np.random.default_rng(len(key) + int(right * 1000))
    luck, other = rng.random(len(asked)), rng.integers(3, size=len(asked))
    judged = []
    for number, prompt in enumerate(asked):
        best = 0 if prompt.harmful_level == 0 else 2
        kept = luck[number] < (0.97 if best == 0 else right)
        code = best if kept else int(other[number])
        text = _TEXT[code].replace("{}", prompt.text)
        response = Response(
            f"{key} {number}", key, prompt.digest, "sampling", "plain", 0, text, "stop", len(text) // 4
        )
        judged.append(
            Judged(prompt, response, Verdict("judge", prompt.digest, f"{key} {number}", LABELS[code]))
        )
    return Answers(role, key, key, tuple(judged), perplexity=10.0, kl_to_base=0.1)


if __name__ == "__main__":
    sys.exit(main())
