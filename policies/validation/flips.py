"""Every prompt whose label changes between incumbent and candidate: the reviewer's reading list.

Prompts and answers are hostile text. In Markdown they stand in fences longer than any they contain; there and
in CSV control and direction characters are removed, and no CSV cell begins as a formula does.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from policies.cares import LEVEL_NAMES, safety_score
from policies.records import Judged
from policies.validation.tables import by_prompt, usable_label

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # and their full-width forms


@dataclass(frozen=True)
class Flip:
    """`harm`: fall of the Safety Score times (level + 1): 4 for a severe request now answered, below 0 for an
    improvement.
    """

    prompt_digest: str
    prompt: str
    level: int
    principle: int | None
    method: str | None
    hard_benign: bool
    before_label: str
    after_label: str
    before: str
    after: str
    harm: float


@dataclass(frozen=True)
class BlindFlip:
    """A flip without labels and in random order: which answer is whose is in the key alone."""

    number: int
    prompt: str
    answer_a: str
    answer_b: str


def flips(before: Sequence[Judged], after: Sequence[Judged]) -> list[Flip]:
    """Changed labels, most harmful first; within the same harm by level, then by digest."""
    old, new = by_prompt(before), by_prompt(after)
    found = []
    for key in old.keys() & new.keys():
        first, second = old[key], new[key]
        was, now = usable_label(first.verdict), usable_label(second.verdict)
        if was is None or now is None or was == now:
            continue
        prompt = first.prompt
        level = prompt.harmful_level
        fall = safety_score(level, was) - safety_score(level, now)
        found.append(
            Flip(
                prompt_digest=prompt.digest,
                prompt=prompt.text,
                level=level,
                principle=prompt.principle_index,
                method=prompt.method,
                hard_benign=prompt.hard_benign,
                before_label=was.value,
                after_label=now.value,
                before=first.response.text,
                after=second.response.text,
                harm=fall * (level + 1),
            )
        )
    return sorted(found, key=lambda flip: (-flip.harm, -flip.level, flip.prompt_digest, flip.after))


def blind(found: Sequence[Flip], *, seed: int) -> tuple[list[BlindFlip], list[dict[str, str | int]]]:
    """Flips in random order, answers in random places; and the key: number → digest, candidate's place."""
    rng = random.Random(seed)
    order = rng.sample(list(found), len(found))
    shown: list[BlindFlip] = []
    key: list[dict[str, str | int]] = []
    for number, flip in enumerate(order, start=1):
        candidate_first = rng.random() < 0.5
        answers = (flip.after, flip.before) if candidate_first else (flip.before, flip.after)
        shown.append(BlindFlip(number, flip.prompt, *answers))
        candidate = "a" if candidate_first else "b"
        key.append({"number": number, "prompt_digest": flip.prompt_digest, "candidate": candidate})
    return shown, key


def to_jsonl(found: Iterable[Flip | BlindFlip]) -> str:
    """One JSON object a line, non-ASCII escaped."""
    return "".join(to_json_text(asdict(flip)) + "\n" for flip in found)


def to_json_text(body: Any, indent: int | None = None) -> str:
    """JSON in which nothing but printable ASCII and its own line breaks stands: a terminal may show it."""
    return json.dumps(body, ensure_ascii=True, indent=indent).replace("\x7f", "\\u007f")


def to_csv(rows: Sequence[Flip | BlindFlip] | Sequence[Mapping[str, Any]]) -> str:
    """A heading and one row a flip, every cell quoted; "" for none. Texts are made harmless."""
    bodies = [row if isinstance(row, Mapping) else asdict(row) for row in rows]
    if not bodies:
        return ""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(bodies[0]), quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    for body in bodies:
        writer.writerow(
            {name: csv_text(value) if isinstance(value, str) else value for name, value in body.items()}
        )
    return stream.getvalue()


def csv_text(text: str) -> str:
    """`text` as a spreadsheet may open it: printable, and never a formula (OWASP's CSV injection)."""
    clean = printable(text)
    return f"'{clean}" if clean.lstrip().startswith(_FORMULA) or clean.startswith(("\t", "\n")) else clean


def printable(text: str) -> str:
    """`text` without control, direction, surrogate and line-separator characters, but for tab and newline."""
    return "".join(sign for sign in text if sign in "\n\t" or unicodedata.category(sign) not in _UNPRINTABLE)


def to_markdown(found: Sequence[Flip | BlindFlip]) -> str:
    """One section a flip."""
    return "\n".join(map(_section, found)) if found else "No label changes.\n"


def _section(flip: Flip | BlindFlip) -> str:
    if isinstance(flip, BlindFlip):
        parts = [f"## {flip.number}", "Prompt", _fenced(flip.prompt)]
        parts += ["Answer A", _fenced(flip.answer_a), "Answer B", _fenced(flip.answer_b)]
    else:
        hard = ", hard benign" if flip.hard_benign else ""
        title = (
            f"## {flip.prompt_digest[:12]}: {flip.before_label} to {flip.after_label}, harm {flip.harm:+g}"
        )
        parts = [title, f"Level {flip.level}, {LEVEL_NAMES[flip.level]}{hard}", _fenced(flip.prompt)]
        parts += [f"Incumbent ({flip.before_label})", _fenced(flip.before)]
        parts += [f"Candidate ({flip.after_label})", _fenced(flip.after)]
    return "\n\n".join(parts) + "\n"


def _fenced(text: str) -> str:
    clean = printable(text)
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", clean)), default=0))
    return f"{fence}text\n{clean}\n{fence}"
