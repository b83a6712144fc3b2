"""People's labels that a decision waits for, where a configuration asks for them.

How many is settled before anybody sees a figure. Labelling on until a decision turns out well would be
testing on until it turns out well; the decision is made once, when the number is reached.
"""

from __future__ import annotations

from policies.errors import Held
from policies.validation.evidence import Answers, Evidence


def await_labels(evidence: Evidence, *, wanted: int, cycle_id: int) -> None:
    """Held until each candidate has `wanted` selection prompts with labels of both its answer and the
    incumbent's; labels without a majority count for nothing."""
    if not wanted:
        return
    missing = []
    for candidate in evidence.candidates:
        have = labelled_prompts(evidence, candidate)
        # No more can be had than there are prompts; fewer than asked for is not a reason to wait for ever.
        need = min(wanted, len({one.prompt.digest for one in candidate.judged}))
        if have < need:
            missing.append((candidate.name, have, need))
    if missing:
        told = ", ".join(f"{have} of {need} prompts for {name}" for name, have, need in missing)
        name = missing[0][0]
        raise Held(
            f"people have labelled both answers to {told}, and validation.labelled_prompts = {wanted}: "
            f"`primum label sample {cycle_id} --candidate {name} --prompts {wanted} --output labels.csv`, "
            "fill it in, `primum label import labels.csv`, then run the cycle again"
        )


def labelled_prompts(evidence: Evidence, candidate: Answers) -> int:
    """Selection prompts with a settled label of both answers."""
    known = evidence.human or {}
    before = {one.prompt.digest for one in evidence.incumbent.judged if one.response.answer_digest in known}
    after = {one.prompt.digest for one in candidate.judged if one.response.answer_digest in known}
    return len(before & after)
