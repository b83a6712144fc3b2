"""Training data of one method, and what it takes to be enough of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from policies.digests import digest_of
from policies.errors import NotEnoughData
from policies.records import DpoPair, KtoExample


@dataclass(frozen=True)
class Preferences:
    """Training data of one method, with the address of its content.

    `held_out`: harmless prompts that nothing here is learnt from; on them it is settled how readily a
    candidate refuses.
    """

    method: str
    kto: tuple[KtoExample, ...] = ()
    dpo: tuple[DpoPair, ...] = ()
    held_out: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return digest_of([self.method, self.rows(), *([self.held_out] if self.held_out else [])])

    @property
    def borrowed(self) -> int:
        """How many rows have the refusal of other prompts."""
        return sum(row.borrowed for row in self.kto) + sum(row.borrowed for row in self.dpo)

    def rows(self) -> list[dict[str, object]]:
        """The examples or pairs as JSON-ready rows, in training order."""
        return [asdict(row) for row in (self.kto or self.dpo)]

    def __len__(self) -> int:
        return len(self.kto or self.dpo)


def enough(method: str, what: str, count: int, least: int) -> None:
    """NotEnoughData where `count` is below `least`."""
    if count < least:
        raise NotEnoughData(
            f"{method}: {count} {what}, at least {least} are needed; "
            "raise sampling.train_prompts (and contrast_prompts, if set), add prompts of the missing kind, "
            "or look at the judge's labels"
        )
