"""One thread owns the engine: waiting requests of the same policy and sampling are answered as one batch.

Adapter loads run on the same thread between batches, because a model must not change while it generates.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from policies.engines.wire import Answer
from policies.errors import EngineError, Held, PrimumError
from policies.records import Policy

T = TypeVar("T")
_log = logging.getLogger(__name__)


class ChatEngine(Protocol):
    """What the server needs of an engine; TransformersEngine is one."""

    @property
    def base_digest(self) -> str: ...

    @property
    def adapters(self) -> AbstractSet[str]: ...

    def complete(
        self,
        policy: Policy,
        conversations: Sequence[Sequence[Mapping[str, str]]],
        *,
        max_new_tokens: int,
        temperature: float,
        top_k: int,
        seeds: Sequence[int],
        prefix: Sequence[Mapping[str, str]] = (),
    ) -> Iterator[tuple[int, Answer]]: ...

    def check(self, messages: Sequence[Mapping[str, str]], *, max_new_tokens: int) -> None: ...

    def load_adapter(self, name: str, path: Path) -> None: ...

    def unload_adapter(self, name: str) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Question:
    """A conversation waiting for its answer. Questions with equal `kind` share a batch."""

    policy: Policy
    messages: tuple[Mapping[str, str], ...]
    max_new_tokens: int
    temperature: float
    top_k: int
    seed: int
    answer: Future[Answer] = field(default_factory=Future, compare=False)

    @property
    def kind(self) -> tuple[str, int, float, int]:
        return (self.policy.digest, self.max_new_tokens, self.temperature, self.top_k)


@dataclass(frozen=True)
class Errand:
    """A call that must run on the engine's thread."""

    call: Callable[[], Any]
    result: Future[Any] = field(default_factory=Future)


class Batcher:
    """The queue and its thread: first come, first served by kind; a full queue raises Held."""

    def __init__(
        self, engine: ChatEngine, *, batch_size: int = 16, capacity: int = 256, linger_s: float = 0.005
    ) -> None:
        self._engine = engine
        self._batch_size = batch_size
        self._capacity = capacity
        self._linger_s = linger_s
        self._waiting: deque[Question | Errand] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="primum-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def ask(self, question: Question) -> Future[Answer]:
        """Queue a question. Raises Held when the queue is full, EngineError when the thread has ended."""
        self._put(question)
        return question.answer

    def call(self, errand: Callable[[], T]) -> Future[T]:
        """Run `errand` on the engine's thread, after what was queued before it."""
        ticket = Errand(errand)
        self._put(ticket)
        return ticket.result

    def close(self) -> None:
        """End the thread after its current batch; whatever still waits gets an EngineError."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _put(self, item: Question | Errand) -> None:
        with self._changed:
            if self._closed or not self.alive:
                raise EngineError("the engine is shutting down; ask again after its restart")
            if len(self._waiting) >= self._capacity:
                raise Held(f"{self._capacity} requests are waiting already; ask again later")
            self._waiting.append(item)
            self._changed.notify_all()

    def _serve(self) -> None:
        while (work := self._take()) is not None:
            if isinstance(work, Errand):
                _settle(work)
            else:
                self._answer(work)
        for item in self._waiting:
            future: Future[Any] = item.result if isinstance(item, Errand) else item.answer
            if future.set_running_or_notify_cancel():
                future.set_exception(EngineError("the engine was shut down before it came to this request"))

    def _take(self) -> list[Question] | Errand | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._waiting))
            if self._closed:
                return None
            if not isinstance(self._waiting[0], Errand) and len(self._waiting) < self._batch_size:
                # A short linger lets requests that arrive together share one forward pass.
                self._changed.wait_for(lambda: self._closed, timeout=self._linger_s)
            first = self._waiting.popleft()
            if isinstance(first, Errand):
                return first
            batch, rest = [first], deque[Question | Errand]()
            passed_errand = False
            for item in self._waiting:
                passed_errand = passed_errand or isinstance(item, Errand)
                fits = not passed_errand and len(batch) < self._batch_size
                if fits and isinstance(item, Question) and item.kind == first.kind:
                    batch.append(item)
                else:
                    rest.append(item)
            self._waiting = rest
            return batch

    def _answer(self, batch: list[Question]) -> None:
        running = [question for question in batch if question.answer.set_running_or_notify_cancel()]
        live = [question for question in running if self._can_be_answered(question)]
        if not live:
            return
        first = live[0]
        try:
            finished = self._engine.complete(
                first.policy,
                [question.messages for question in live],
                max_new_tokens=first.max_new_tokens,
                temperature=first.temperature,
                top_k=first.top_k,
                seeds=[question.seed for question in live],
            )
            for index, answer in finished:
                live[index].answer.set_result(answer)
        except PrimumError as error:
            _fail(live, error)
        except Exception as error:  # noqa: BLE001 - the engine thread's edge: it must outlive one bad batch
            # The type alone: a library's message may quote the prompt.
            _log.error("a batch of %d failed: %s", len(live), type(error).__name__)
            _fail(live, EngineError(f"the engine failed with {type(error).__name__}"))
        _fail(live, EngineError("the engine gave no answer"))

    def _can_be_answered(self, question: Question) -> bool:
        """One that cannot fails alone: its batch holds other people's."""
        try:
            self._engine.check(question.messages, max_new_tokens=question.max_new_tokens)
        except Exception as error:  # noqa: BLE001 - as in `_answer`
            if not isinstance(error, PrimumError):
                _log.error("a request failed: %s", type(error).__name__)
                error = EngineError(f"the engine failed with {type(error).__name__}")
            question.answer.set_exception(error)
            return False
        return True


def _fail(questions: list[Question], error: Exception) -> None:
    for question in questions:
        if not question.answer.done():
            question.answer.set_exception(error)


def _settle(errand: Errand) -> None:
    if not errand.result.set_running_or_notify_cancel():
        return
    try:
        errand.result.set_result(errand.call())
    except Exception as error:  # noqa: BLE001 - handed to whoever waits for the result
        errand.result.set_exception(error)
