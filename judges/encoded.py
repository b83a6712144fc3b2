"""Shows readable Base64 in clear: what an answer says in it, it says.

A blob is replaced by the text that it stands for, neutralised like any other; so are blobs inside that text.
The text in clear is shorter than its blob (but for letters that Unicode spells out), hence nothing grows
without bound. Words of sixteen letters and identifiers stay: what they would decode to is not text.
"""

from __future__ import annotations

import base64
import binascii
import re

from judges.fencing import neutralise
from policies.digests import digest_of

_ODD_ONE_IN = 20  # a few broken characters do not make text unreadable
_ROUNDS = 4  # how often neutralising the whole may bring a new blob to light
_BLOB = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{16,}+={0,2}")
_WRAPPED = re.compile(
    r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{60,76}+(?:\n[A-Za-z0-9+/]{60,76}+){0,100}+"
    r"(?:\n[A-Za-z0-9+/]{1,76}+={0,2}+(?=[ \t]*(?:\n|\Z)))?+"
)
_LETTERS = re.compile(r"[^\W\d_]{2,}")

DIGEST = digest_of([1, _ODD_ONE_IN, _ROUNDS, _BLOB.pattern, _WRAPPED.pattern, _LETTERS.pattern])


def in_clear(text: str, *, fold_confusables: bool = True) -> str:
    """`text` neutralised and with its readable Base64 decoded. Idempotent.

    Without such Base64 it is what `neutralise` makes of it, to the character.
    """
    shown = neutralise(text, fold_confusables=fold_confusables)
    for _ in range(_ROUNDS):
        clear = _opened(shown, fold_confusables)
        if clear == shown:
            break
        # Markers must not be built from what stands beside a blob and what stands in it.
        shown = neutralise(clear, fold_confusables=fold_confusables)
    return shown


def _opened(text: str, fold: bool) -> str:
    """With every readable blob decoded, and those in it; each is shorter than the one that it was in."""

    def one(match: re.Match[str]) -> str:
        clear = _decoded(match.group(), fold)
        return match.group() if clear is None else _opened(clear, fold)

    def lines(match: re.Match[str]) -> str:
        rows = match.group().split("\n")
        even = len({len(row) for row in rows[:-1]}) == 1 and len(rows[-1]) <= len(rows[0])
        clear = _decoded("".join(rows), fold) if even else None
        return match.group() if clear is None else _opened(clear, fold)

    return _BLOB.sub(one, _WRAPPED.sub(lines, text))


def _decoded(blob: str, fold: bool) -> str | None:
    """What Base64 stands for, neutralised, where that is text."""
    try:
        raw = base64.b64decode(blob + "=" * (-len(blob) % 4), validate=True)
    except binascii.Error:
        return None
    text = neutralise(raw.decode(errors="replace"), fold_confusables=fold).strip()
    odd = sum(map(_is_odd, text))
    return text if odd * _ODD_ONE_IN <= len(text) and _LETTERS.search(text) else None


def _is_odd(character: str) -> bool:
    """Characters that `neutralise` puts for controls, and others that nobody writes."""
    return (
        "\u2400" <= character <= "\u2421"
        or character == "\ufffd"
        or not (character.isprintable() or character.isspace())
    )
