"""The cycle's report for people: the decision in words, the trade-off as a picture, the flips to read."""

from __future__ import annotations

from pathlib import Path

from policies.validation.config import GateConfig
from policies.validation.decide import Decision
from policies.validation.evidence import Evidence
from policies.validation.explain import explain_markdown
from policies.validation.flips import flips, to_jsonl, to_markdown
from policies.validation.pictures import report_pictures


def write_report(folder: Path, decision: Decision, evidence: Evidence, gates: GateConfig) -> None:
    """Writes decision.md, tradeoff.svg and .png, and flips-NAME.md and .jsonl for each candidate."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "decision.md").write_text(explain_markdown(decision), encoding="utf-8")
    report_pictures(decision, folder, gates)
    for candidate in evidence.candidates:
        found = flips(evidence.incumbent.judged, candidate.judged)
        (folder / f"flips-{candidate.name}.jsonl").write_text(to_jsonl(found), encoding="utf-8")
        (folder / f"flips-{candidate.name}.md").write_text(to_markdown(found), encoding="utf-8")
