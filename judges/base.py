"""The Judge protocol: (prompt, response) → Verdict, or unscored with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from policies.records import Prompt, Response, Verdict


class Judge(Protocol):
    """Batch in, batch out, order kept: the n-th verdict is the n-th item's, yielded as soon as it is made.

    A judge never raises for one bad item: that verdict is unscored, with a reason and the transcript.
    """

    @property
    def name(self) -> str:
        """The name under which the configuration knows the judge."""
        ...

    @property
    def digest(self) -> str:
        """Address of model, adapter, rubric and parameters. A change of any of them is another judge."""
        ...

    def judge(self, items: Sequence[tuple[Prompt, Response]]) -> Iterator[Verdict]: ...

    def close(self) -> None: ...
