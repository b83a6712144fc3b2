"""Ask and judge, nothing twice: every answer and verdict is stored as soon as it exists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from daemon.store.store import Store
from judges.base import Judge
from judges.ledger import Ledger
from policies.engines.base import Engine
from policies.records import Ask, Judged, Policy, Prompt, Response, Verdict

T = TypeVar("T")
Report = Callable[[dict[str, Any]], None]
_SAVE_EVERY = 16  # answers; a kill loses at most the batch in hand


def quiet(_event: dict[str, Any]) -> None:
    """A report that nobody reads."""


class Asking:
    """Asks engines and judges on behalf of one cycle (or of none, for an evaluation)."""

    def __init__(
        self,
        *,
        store: Store,
        now: Callable[[], datetime],
        report: Report = quiet,
        cycle_id: int | None = None,
    ) -> None:
        self._store, self._now, self._report, self._cycle_id = store, now, report, cycle_id
        self._retried: set[str] = set()  # verdict keys; a judge that cannot tell is not asked at every turn

    def answer(
        self, engine: Callable[[], Engine], policy: Policy, asks: Sequence[Ask], *, purpose: str
    ) -> list[tuple[Ask, Response]]:
        """Responses to all asks, in their order; the engine is made only if something is still unanswered."""
        keys = [ask.key(policy.digest) for ask in asks]
        self._store.answers.save_prompts(ask.prompt for ask in asks)
        if self._cycle_id is not None:
            self._store.answers.add_asks(self._cycle_id, purpose, keys)
        known = self._store.answers.responses_for(keys)
        missing = list({key: ask for ask, key in zip(asks, keys, strict=True) if key not in known}.values())
        done = len(asks) - len(missing)
        self._tell(f"asking {purpose}", done, len(asks))
        if missing:
            for batch in _batches(engine().generate(policy, missing), _SAVE_EVERY):
                self._store.answers.save_responses(batch, self._cycle_id, self._now())
                known |= {response.key: response for response in batch}
                done += len(batch)
                self._tell(f"asking {purpose}", done, len(asks))
        return [(ask, known[key]) for ask, key in zip(asks, keys, strict=True)]

    def judge(
        self, judge: Callable[[], Judge], answered: Sequence[tuple[Ask, Response]], *, purpose: str
    ) -> list[Judged]:
        """Verdicts on all answers, in their order.

        Equal answers to a prompt are judged once; what is stored unscored is tried again, once.
        """
        asked = judge()
        keys = [_verdict_key(asked.digest, response) for _, response in answered]
        stored = self._store.answers.verdicts_for(keys)
        known = {key: one for key, one in stored.items() if one.label is not None or key in self._retried}
        items = {
            key: (ask.prompt, response)
            for key, (ask, response) in zip(keys, answered, strict=True)
            if key not in known
        }
        self._retried |= stored.keys() & items.keys()
        done = len(answered) - len(items)
        self._tell(f"judging {purpose}", done, len(answered))
        for batch in _batches(asked.judge(list(items.values())), _SAVE_EVERY):
            self._store.answers.save_verdicts(batch, self._cycle_id, self._now())
            known |= {verdict.key: verdict for verdict in batch}
            book(self._store, asked, batch, cycle_id=self._cycle_id, at=self._now())
            done += len(batch)
            self._tell(f"judging {purpose}", done, len(answered))
        return [
            Judged(ask.prompt, response, known[key])
            for key, (ask, response) in zip(keys, answered, strict=True)
        ]

    def _tell(self, what: str, done: int, of: int) -> None:
        self._report({"event": "progress", "what": what, "done": done, "of": of})


class Metered:
    """A judge whose verdicts nobody keeps: asked for its own sake (sentinel, calibration), paid for all the
    same."""

    def __init__(
        self, judge: Judge, *, store: Store, now: Callable[[], datetime], cycle_id: int | None
    ) -> None:
        self._judge, self._store, self._now, self._cycle_id = judge, store, now, cycle_id

    @property
    def name(self) -> str:
        return self._judge.name

    @property
    def digest(self) -> str:
        return self._judge.digest

    def judge(self, items: Sequence[tuple[Prompt, Response]]) -> Iterator[Verdict]:
        for batch in _batches(self._judge.judge(items), _SAVE_EVERY):
            book(self._store, self._judge, batch, cycle_id=self._cycle_id, at=self._now())
            yield from batch

    def close(self) -> None:
        self._judge.close()


def book(
    store: Store, judge: Judge, verdicts: Sequence[Verdict], *, cycle_id: int | None, at: datetime
) -> None:
    """Writes into the ledger what verdicts cost: at once, since money is spent whatever comes after."""
    # Judges that compute on this machine say where; for the others there is nothing to say.
    spent = Ledger.of(verdicts, on_gpu=bool(getattr(judge, "on_gpu", False)))
    store.evidence.charge(
        judge_digest=judge.digest,
        cycle_id=cycle_id,
        at=at,
        calls=spent.calls,
        prompt_tokens=spent.prompt_tokens,
        completion_tokens=spent.completion_tokens,
        cost_usd=spent.cost_usd,
        gpu_seconds=spent.gpu_seconds,
    )


def unscored_share(judged: Sequence[Judged]) -> float:
    """Share in [0, 1] of answers without a label; 0 for none."""
    return sum(one.verdict.label is None for one in judged) / len(judged) if judged else 0.0


def _verdict_key(judge_digest: str, response: Response) -> str:
    return Verdict(
        judge_digest, response.prompt_digest, response.answer_digest, None, unscored_reason="key"
    ).key


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items. What came before an error is handed over first: it was paid for."""
    batch: list[T] = []
    try:
        for item in items:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
