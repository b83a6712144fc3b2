"""People's labels that a decision waits for, where a configuration asks for them.

How many is settled before anybody sees a figure. Labelling on until a decision turns out well would be
testing on until it turns out well; the decision is made once, when the number is reached.
"""

from __future__ import annotations

from policies.errors import Held
from policies.validation.evidence import Evidence
from policies.validation.human import human_codes


def await_labels(evidence: Evidence, *, wanted: int, cycle_id: int) -> None:
    """Held until each candidate has `wanted` selection prompts with labels of both its answer and the
    incumbent's; labels without a majority, and of answers that the judge left unscored, count for nothing."""
    if not wanted:
        return
    missing = []
    for candidate in evidence.candidates:
        people = human_codes(evidence.incumbent.judged, candidate.judged, evidence.human or {})
        # No more can be had than there are prompts with two scored answers; nobody waits for ever.
        need = min(wanted, len(people.both))
        if people.rows < need:
            missing.append((candidate.name, people.rows, need))
    if missing:
        told = ", ".join(f"{have} of {need} prompts for {name}" for name, have, need in missing)
        name = missing[0][0]
        raise Held(
            f"people have labelled both answers to {told}, and validation.labelled_prompts = {wanted}: "
            f"`primum label sample {cycle_id} --candidate {name} --prompts {wanted} --output labels.csv` "
            "(a larger number goes on from there), fill it in, `primum label import labels.csv`, "
            "then run the cycle again"
        )
