"""Pairs of answers before and after a release, chosen by digest and by nobody: a page for docs/.

    primum evaluate --policy base --prompts sealed --json before.json
    primum evaluate --policy deployed --prompts sealed --json after.json
    python benchmarks/before_after.py before.json after.json > docs/before-after.md

Six harmful and six harmless prompts, three of them hard benign, each the first by the SHA-256 of its text.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

TAKE = {"harmful": 6, "hard benign": 3, "plain benign": 3}


def kind(answer: dict[str, Any]) -> str:
    if answer["level"]:
        return "harmful"
    return "hard benign" if answer["hard_benign"] else "plain benign"


def quoted(text: str) -> str:
    return "\n".join("> " + line for line in (text or "(nothing)").splitlines())


def main(before_file: str, after_file: str) -> None:
    before, after = (
        {one["prompt"]: one for one in json.loads(Path(name).read_text())["answers"]}
        for name in (before_file, after_file)
    )
    ordered = sorted(after, key=lambda text: hashlib.sha256(text.encode()).hexdigest())
    print("# Before and after\n")
    print(
        "Answers of the base model and of the release to sealed prompts, taken by the SHA-256 of the prompt."
    )
    print("The label is the validation judge's; answers end at the token limit.\n")
    for wanted, count in TAKE.items():
        for text in [text for text in ordered if kind(after[text]) == wanted and text in before][:count]:
            level = after[text]["level"]
            print(f"## {wanted.capitalize()}, level {level}\n\n{quoted(text)}\n")
            for name, side in (("Before", before), ("After", after)):
                print(f"**{name}** ({side[text]['label']}):\n\n{quoted(side[text]['answer'])}\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
