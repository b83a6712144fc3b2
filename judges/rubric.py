"""The one question put to a judge, read from a file that safety people can review.

A rubric file has a head of `key: value` lines between `---`, then the question's text; a line `[[item]]`
stands where the item goes. What comes before it is the same for all items, so a local judge computes it
once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from judges import claims, fencing
from policies.cares import LEVEL_NAMES, PRINCIPLES
from policies.digests import digest_of
from policies.errors import ConfigurationError
from policies.records import Prompt

FOLDER = Path(__file__).parent / "rubrics"
_ITEM = "\n[[item]]\n"
_KEYS = {"shows", "system", "code_letters", "confusables", "max_request_chars", "max_answer_chars"}
_SHOWABLE = {"level", "principle"}


@dataclass(frozen=True)
class Rendered:
    """A question ready to be put. The user message is `prefix` + `body` + `suffix`.

    `prefix` and `suffix` are the same for all items of a rubric; `fence` is the code in the markers of this
    one; `truncated` says that the middle of the request or of the answer was left out.
    """

    system: str
    prefix: str
    body: str
    suffix: str
    fence: str
    truncated: bool

    @property
    def user(self) -> str:
        return self.prefix + self.body + self.suffix

    @property
    def messages(self) -> list[dict[str, str]]:
        """OpenAI-shaped chat messages."""
        return [{"role": "system", "content": self.system}, {"role": "user", "content": self.user}]


@dataclass(frozen=True)
class Rubric:
    """A question and how items are shown in it.

    `shows` holds `level`, `principle`, both or neither (level-blind).
    """

    name: str
    system: str
    prefix: str
    suffix: str
    shows: frozenset[str] = frozenset()
    code_letters: int = 12
    fold_confusables: bool = True
    max_request_chars: int = 4000
    max_answer_chars: int = 8000

    @classmethod
    def load(cls, name_or_path: str | Path) -> Rubric:
        """Reads a shipped rubric (`aware`, `blind`, `compact`) or a file.

        ConfigurationError names what is wrong.
        """
        path = FOLDER / f"{name_or_path}.md"
        if not path.is_file():
            path = Path(name_or_path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            shipped = ", ".join(sorted(found.stem for found in FOLDER.glob("*.md")))
            raise ConfigurationError(
                f"rubric {name_or_path}: no readable file of this name; shipped are {shipped}"
            ) from problem
        return _parse(path, text.replace("\r\n", "\n"))

    @cached_property
    def digest(self) -> str:
        """Address of all that a judge is shown besides the item, and of the rules by which the item is
        shown."""
        return digest_of(
            [
                [fencing.VERSION, claims.DIGEST, self.system, self.prefix, self.suffix, sorted(self.shows)],
                [self.code_letters, self.fold_confusables, self.max_request_chars, self.max_answer_chars],
            ]
        )

    @property
    def level_aware(self) -> bool:
        return "level" in self.shows

    def render(
        self,
        prompt: Prompt,
        answer: str,
        *,
        count: Callable[[str], int] = len,
        max_request: int | None = None,
        max_answer: int | None = None,
    ) -> Rendered:
        """The question about one answer.

        With `count` (for example a tokenizer's) `max_request` and `max_answer` are in its units; without
        them the rubric's own limits are taken, in characters.
        """
        request_text = claims.as_judged(prompt.text, fold_confusables=self.fold_confusables)
        answer_text = claims.as_judged(answer, fold_confusables=self.fold_confusables)
        code = fencing.item_code(self.digest, (request_text, answer_text), self.code_letters)

        def cut(characters: int) -> str:
            return f"\n<<<cut {code}: {characters} characters left out>>>\n"

        request_text, request_cut = _shortened(
            request_text, *_limit(max_request, self.max_request_chars, cut, count)
        )
        answer_text, answer_cut = _shortened(
            answer_text, *_limit(max_answer, self.max_answer_chars, cut, count)
        )
        body = "\n".join(
            [
                *self._facts(prompt),
                f"<<<request {code}>>>",
                request_text,
                f"<<<answer {code}>>>",
                answer_text,
                f"<<<end {code}>>>",
                "",
            ]
        )
        return Rendered(self.system, self.prefix, body, self.suffix, code, request_cut or answer_cut)

    def _facts(self, prompt: Prompt) -> list[str]:
        """Lines on the request from our own tables, never from its text."""
        facts = []
        if "level" in self.shows:
            known = 0 <= prompt.harmful_level < len(LEVEL_NAMES)
            level = f"{prompt.harmful_level} ({LEVEL_NAMES[prompt.harmful_level]})" if known else "not stated"
            facts.append("Harm level of the request: " + level)
        if "principle" in self.shows:
            index = prompt.principle_index
            stated = index is not None and 0 <= index < len(PRINCIPLES)
            facts.append(
                "Principle: " + (PRINCIPLES[index] if stated and index is not None else "not stated")
            )
        return facts


def _limit(
    asked: int | None, own_chars: int, cut: Callable[[int], str], count: Callable[[str], int]
) -> tuple[int, Callable[[int], str], Callable[[str], int]]:
    """Arguments for keep_ends: the caller's limit in its units, or the rubric's own in characters."""
    return (own_chars, cut, len) if asked is None else (asked, cut, count)


def _shortened(
    text: str, limit: int, cut: Callable[[int], str], count: Callable[[str], int]
) -> tuple[str, bool]:
    """(text within the limit, was anything left out?): first what it repeats goes, then its middle."""
    if count(text) <= limit:
        return text, False
    noted = claims.without_repeats(text, cut)
    if count(noted) <= limit:
        return noted, True
    return fencing.keep_ends(claims.without_repeats(text, lambda _: ""), limit, cut, count)


def _parse(path: Path, text: str) -> Rubric:
    if not text.startswith("---\n") or "\n---\n" not in text or text.count(_ITEM) != 1:
        raise ConfigurationError(
            f"rubric {path}: must open with a head between two --- lines and hold exactly one line [[item]]"
        )
    head_text, body = text[4:].split("\n---\n", 1)
    head = dict(_head_line(path, line) for line in head_text.splitlines() if line.strip())
    prefix, suffix = body.split(_ITEM)
    shows = frozenset(part.strip() for part in head.get("shows", "").split(",") if part.strip())
    if shows - _SHOWABLE:
        raise ConfigurationError(
            f"rubric {path}: shows may name level and principle, not {sorted(shows - _SHOWABLE)}"
        )
    confusables = head.get("confusables", "fold")
    if confusables not in ("fold", "keep"):
        raise ConfigurationError(f"rubric {path}: confusables is fold or keep, not {confusables!r}")
    return Rubric(
        name=path.stem,
        system=head.get("system", "You are a helpful assistant."),
        prefix=prefix.strip() + "\n\n",
        suffix=suffix.strip(),
        shows=shows,
        code_letters=_whole(path, head, "code_letters", 12, least=4, most=32),
        fold_confusables=confusables == "fold",
        max_request_chars=_whole(path, head, "max_request_chars", 4000, least=200),
        max_answer_chars=_whole(path, head, "max_answer_chars", 8000, least=200),
    )


def _head_line(path: Path, line: str) -> tuple[str, str]:
    key, colon, value = line.partition(":")
    if not colon or key.strip() not in _KEYS:
        raise ConfigurationError(
            f"rubric {path}: unknown head line {line!r}; known are {', '.join(sorted(_KEYS))}"
        )
    return key.strip(), value.strip()


def _whole(
    path: Path, head: Mapping[str, str], key: str, default: int, least: int, most: int = 1 << 20
) -> int:
    text = head.get(key, str(default))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ConfigurationError(
            f"rubric {path}: {key} must be a whole number from {least} to {most}, not {text!r}"
        )
    return int(text)
