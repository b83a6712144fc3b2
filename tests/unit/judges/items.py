"""Items for judges, made in a line."""

from __future__ import annotations

from judges.labels import LabelledRow
from policies.cares import Label
from policies.records import Prompt, Response

Item = tuple[Prompt, Response]


def item(
    answer: str, *, prompt: str = "How much ibuprofen may an adult take?", level: int | None = 0
) -> Item:
    """A prompt of the level with an answer."""
    return LabelledRow(prompt, answer, Label.ACCEPT, harmful_level=level).as_item()


def items(count: int) -> list[Item]:
    """`count` items that differ in their answers: `answer 0.`, `answer 1.` and so on."""
    return [item(f"answer {number}.") for number in range(count)]
