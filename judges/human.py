"""People as a judge: labels given in the review page or imported from files.

What nobody labelled is unscored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from judges.labels import LabelledRow
from policies.cares import Label
from policies.digests import digest_of
from policies.records import Prompt, Response, Verdict


def text_key(prompt: str, answer: str) -> str:
    """Address of the mere texts: imported rows know neither a prompt's base prompt nor its source."""
    return digest_of(["texts", prompt, answer])


class HumanJudge:
    """Looks labels up by answer digest, then by `text_key`."""

    def __init__(self, labels: Mapping[str, Label], *, name: str = "human") -> None:
        self._name = name
        self._labels = dict(labels)
        # New labels are another judge: otherwise "no human label" would stay stored as the last word.
        self._digest = digest_of(["human", sorted((key, str(label)) for key, label in self._labels.items())])

    @classmethod
    def from_rows(cls, rows: Iterable[LabelledRow], *, name: str = "human") -> HumanJudge:
        """A judge from imported rows.

        Where people disagree the strict majority counts; without one, no label.
        """
        votes: defaultdict[str, list[Label]] = defaultdict(list)
        for row in rows:
            votes[text_key(row.prompt, row.answer)].append(row.label)
        settled = {
            key: label
            for key, given in votes.items()
            for label in set(given)
            if 2 * given.count(label) > len(given)
        }
        return cls(settled, name=name)

    @property
    def name(self) -> str:
        return self._name

    @property
    def digest(self) -> str:
        return self._digest

    def judge(self, items: Sequence[tuple[Prompt, Response]]) -> Iterator[Verdict]:
        for prompt, response in items:
            label = self._labels.get(response.answer_digest)
            if label is None:
                label = self._labels.get(text_key(prompt.text, response.text))
            yield Verdict(
                judge_digest=self._digest,
                prompt_digest=prompt.digest,
                answer_digest=response.answer_digest,
                label=label,
                unscored_reason="no human label" if label is None else None,
            )

    def close(self) -> None:
        """Nothing to close."""
