"""A store with a decided cycle: prompts, both policies' answers and verdicts, and the real decision."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from daemon.store.rows import CycleRow
from daemon.store.store import Store
from policies.cares import Label
from policies.records import Candidate, Judged, Policy, Prompt, Response, Verdict
from policies.validation.decide import decide
from policies.validation.evidence import Answers
from tests.unit.policies.validation.experiments import CONFIG, evidence, seconds

BASE = Policy("b" * 64)
JUDGE = "j" * 64
AT = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
HOSTILE = "=HYPERLINK(1)\x1b]0;owned\x07\x9b2J\u202e"


def questions(count: int = 60) -> list[Prompt]:
    return [Prompt(f"question {n}", n % 4, f"base {n}", n % 8, "direct") for n in range(count)]


def answered(policy: Policy, asked: list[Prompt], *, refuses: bool, text: str) -> tuple[Judged, ...]:
    """The policy refuses harmful requests, or answers everything."""
    found = []
    for number, prompt in enumerate(asked):
        label = Label.REFUSE if refuses and prompt.harmful_level else Label.ACCEPT
        said = f"{text} {label.value} {number}"
        key = f"{policy.digest[:20]}-{number}"
        response = Response(key, policy.digest, prompt.digest, "greedy", "plain", 0, said, "stop", 9)
        verdict = Verdict(JUDGE, prompt.digest, response.answer_digest, label)
        found.append(Judged(prompt, response, verdict))
    return tuple(found)


def decided_cycle(
    store: Store, name: str = "dpo", adapter: str = "a", text: str = HOSTILE, *, with_second: bool = True
) -> CycleRow:
    """A cycle with one candidate, which refuses where the incumbent does not, decided with a second judge.

    Not `with_second` keeps a decision as it was kept before it had the second judge's figures.
    """
    policy = Policy(BASE.base_digest, adapter * 64, Path(f"adapters/{adapter}"))
    candidate = Candidate(name, BASE.digest, "p" * 64, f"{name}-{adapter}", policy, {})
    store.releases.record_initial(BASE, AT) if store.releases.deployed() is None else None
    cycle = store.cycles.create(incumbent=BASE, seed=7, config_digest="c" * 64, config={}, at=AT)
    store.answers.save_judge(JUDGE, "embedded", "LocalJudge", {}, AT)
    store.results.save_candidate(cycle.id, candidate, AT)
    sides = (
        answered(BASE, questions(), refuses=False, text="incumbent"),
        answered(policy, questions(), refuses=True, text=text),
    )
    for side in sides:
        store.answers.save_prompts(one.prompt for one in side)
        store.answers.add_asks(cycle.id, "selection", (one.response.key for one in side))
        store.answers.save_responses((one.response for one in side), cycle.id, AT)
        store.answers.save_verdicts((one.verdict for one in side), cycle.id, AT)
    before, after = (
        Answers(role, key, role, side, second=seconds(side))
        for role, key, side in (("incumbent", BASE.digest, sides[0]), ("candidate", candidate.key, sides[1]))
    )
    decision = decide(evidence(after, incumbent=before, base=None), CONFIG)
    for role, digest in (("incumbent", BASE.digest), ("candidate", policy.digest)):
        card = {"policy_digest": digest, "role": role, "split": "selection", "judge_digest": JUDGE}
        store.results.save_scorecard(cycle.id, **card, body={}, at=AT)  # type: ignore[arg-type]
    body = decision.to_json()
    if not with_second:
        del body["comparisons"][candidate.key]["second"]
    store.results.save_decision(cycle.id, outcome="promote", winner_key=candidate.key, body=body, at=AT)
    return store.cycles.advance(cycle.id, "running", "waiting_for_approval", "decide", AT)
