"""For the cycle's report: prompts that would flip back and forth from release to release with a candidate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from policies.validation.evidence import Answers, Evidence
from policies.validation.oscillation import Oscillation, oscillations

_ENOUGH = 3  # releases; between two of them a prompt can change, but not change back


def write_oscillations(folder: Path, evidence: Evidence) -> dict[str, int] | None:
    """Writes oscillations.md and .json, of each candidate as if it were the next release.

    Returns the number of prompts by candidate's name, or None where fewer than three releases answered: then
    nothing is written.
    """
    found: dict[str, list[Oscillation]] = {}
    for candidate in evidence.candidates:
        history = releases_of(evidence, candidate)
        if len(history) >= _ENOUGH:
            found[candidate.name] = oscillations(history)
    if not found:
        return None
    texts = {one.prompt.digest: one.prompt.text for one in evidence.incumbent.judged}
    rows = {
        name: [{**asdict(one), "prompt": texts.get(one.prompt_digest)} for one in many]
        for name, many in found.items()
    }
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "oscillations.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    (folder / "oscillations.md").write_text(_markdown(found), encoding="utf-8")
    return {name: len(many) for name, many in found.items()}


def releases_of(evidence: Evidence, candidate: Answers) -> list[Answers]:
    """Base, champions, incumbent, candidate; the incumbent that is still the base counts once."""
    base = [evidence.base] if evidence.base is not None else []
    every = [*base, *evidence.champions, evidence.incumbent, candidate]
    return [next(same) for _, same in groupby(every, key=lambda answers: answers.key)]


def _markdown(found: Mapping[str, Sequence[Oscillation]]) -> str:
    lines = ["# Oscillations", "", "Progress that is undone is no progress. Prompts: oscillations.json."]
    for name, many in found.items():
        lines += ["", f"## {name}", ""]
        if not many:
            lines.append("No prompt flips back and forth.")
            continue
        lines += ["| prompt | level | turns | labels, oldest release first |", "|---|---|---|---|"]
        for one in many:
            told = ", ".join(f"{who} {what}" for who, what in zip(one.releases, one.labels, strict=True))
            row = (one.prompt_digest[:12], str(one.level), str(one.turns), told)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines) + "\n"
