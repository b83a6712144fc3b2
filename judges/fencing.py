"""Makes hostile text harmless to quote: what cannot be seen is removed, what could end a quotation is broken.

Judged text reaches a judge inside markers that carry a code. Three things hold for every text:
no marker, no chat-template control token and no invisible character survives `neutralise`; the code does
not occur in the text that it encloses; and nothing is interpolated, pieces are only joined.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable

VERSION = 2  # enters every rubric's digest: a change of the rules below is another judge

_BREAK = "·"
# Openers of tags, fences and control tokens (<|im_start|>, </s>, <<SYS>>, <<<answer …>>>), and their ends.
# DeepSeek's tokens are spelt with a full-width bar, so it counts even where nothing is folded.
_OPENER = re.compile(r"<(?=[<|｜/!A-Za-z_])")
_CLOSER = re.compile(r"(?<=[>|｜])>")
_BRACKETED = re.compile(r"\[(?=/?[A-Z_]{2,24}\])")  # [INST], [/INST], [MASK], [TOOL_CALLS]
_NEWLINES = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
# Blank glyphs that are letters by category: Hangul fillers, Braille blank; and variation selectors.
_BLANKS = re.compile("[\u115f\u1160\u3164\uffa0\u2800\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# Strokes laid over letters and rings round them: no language is written with them.
_OVERLAYS = re.compile("[\u0334-\u0338\u20d0-\u20ff]")
_WORD = re.compile(r"\w+")
# Cyrillic and Greek letters that look like Latin ones. Folded only in words that also hold Latin letters,
# and, in a text that has such words, in words of nothing but look-alikes: Russian stays as it is.
_LOOKALIKES = str.maketrans(
    "АВЕЅІЈКМНОРСТУХаеѕіјорсухԁɡΑΒΕΖΗΙΚΜΝΟΡΤΥΧοιαυρν", "ABESIJKMHOPCTYXaesijopcyxdgABEZHIKMNOPTYXoiaupv"
)
_LATIN = re.compile("[A-Za-z]")


def _fold_lookalikes(text: str) -> str:
    words = _WORD.findall(text)
    mixed = any(_LATIN.search(word) and word.translate(_LOOKALIKES) != word for word in words)

    def fold(match: re.Match[str]) -> str:
        folded = match.group().translate(_LOOKALIKES)
        return folded if _LATIN.search(match.group()) or folded.isascii() else match.group()

    return _WORD.sub(fold, text) if mixed else text


def _visible(character: str) -> str:
    """A character as a judge may see it: format characters vanish, controls become their pictures."""
    if character in "\n\t":
        return character
    category = unicodedata.category(character)
    if category == "Cf":  # zero-width, bidirectional overrides, tags, soft hyphen
        return ""
    if category == "Cs":  # a lone surrogate has no UTF-8 form
        return "\ufffd"
    if category == "Cc":
        code = ord(character)
        return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"
    return character


def neutralise(text: str, *, fold_confusables: bool = False) -> str:
    """`text` without invisible characters, fence-like markers or control tokens. Idempotent.

    With `fold_confusables` the text is also NFKC-normalised, strokes through letters go, and Cyrillic or
    Greek lookalikes inside Latin words become Latin. Characters that are removed go first: removing them
    could otherwise build a marker.
    """
    shown = "".join(map(_visible, _NEWLINES.sub("\n", _BLANKS.sub("", text))))
    if fold_confusables:
        shown = _fold_lookalikes(unicodedata.normalize("NFKC", _OVERLAYS.sub("", shown)))
    for pattern, broken in ((_OPENER, "<" + _BREAK), (_CLOSER, _BREAK + ">"), (_BRACKETED, "[" + _BREAK)):
        shown = pattern.sub(broken, shown)
    return shown


def item_code(seed: str, texts: tuple[str, ...], letters: int) -> str:
    """A code of `letters` letters that occurs in none of `texts`.

    It is a hash of `seed` and the texts: the same item always has the same code, so a verdict can be found
    again, and whoever writes a text cannot know the code before the text is finished. Should it occur all
    the same (short codes), the next one is taken.
    """
    material = "\x00".join((seed, *texts)).encode("utf-8", "surrogatepass")
    lowered = [text.lower() for text in texts]
    attempt = 0
    while True:
        digest = hashlib.sha256(material + attempt.to_bytes(8, "big")).digest()
        code = "".join(chr(ord("a") + byte % 26) for byte in digest[:letters])
        if not any(code in text for text in lowered):
            return code
        attempt += 1


def keep_ends(
    text: str, limit: int, cut: Callable[[int], str], count: Callable[[str], int] = len
) -> tuple[str, bool]:
    """`text` in at most `limit` units of `count`, by default characters, with its middle left out where
    needed.

    `cut(n)` is the note put where n characters were left out. Head and tail get equal shares: refusals that
    then comply show their nature at the end, plain ones at the beginning. Returns the text and whether it
    was cut. Where not even the note fits, the note alone is returned.
    """
    if count(text) <= limit:
        return text, False

    def kept(characters: int) -> str:
        head, tail = characters - characters // 2, characters // 2
        return text[:head] + cut(len(text) - characters) + (text[-tail:] if tail else "")

    low, high = 0, len(text) - 1
    while low < high:  # the most characters that fit
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(kept(middle)) <= limit else (low, middle - 1)
    return kept(low), True
