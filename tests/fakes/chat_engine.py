"""A ChatEngine without a model: the answer tells policy, last message, seed and batch."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from policies.errors import DataError, EngineError
from policies.records import Policy


@dataclass(frozen=True)
class FakeAnswer:
    text: str
    finish_reason: str = "stop"
    prompt_tokens: int = 5
    tokens: int = 3


class FakeChatEngine:
    """Answers "<adapter or base>: <last message>". `batches` keeps what came together.

    `gate` holds answers back. A last message "break" raises what a library would, "refuse" an EngineError.
    """

    def __init__(self, base_digest: str = "b" * 64) -> None:
        self.base_digest = base_digest
        self.adapters: set[str] = set()
        self.batches: list[list[str]] = []
        self.seeds: list[int] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.busy = threading.Event()

    def check(self, messages: Sequence[Mapping[str, str]], *, max_new_tokens: int) -> None:
        if messages[-1]["content"] == "too long":
            raise DataError("these messages are too long")

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
    ) -> Iterator[tuple[int, FakeAnswer]]:
        self.threads.add(threading.current_thread().name)
        questions = [conversation[-1]["content"] for conversation in conversations]
        self.batches.append(questions)
        self.seeds.extend(seeds)
        self.busy.set()
        self.gate.wait(10.0)
        if "break" in questions:
            raise RuntimeError(f"a library quotes {questions}")
        if "refuse" in questions:
            raise EngineError("the fake does not answer this")
        for index in reversed(range(len(questions))):
            yield index, FakeAnswer(f"{policy.adapter_name or 'base'}: {questions[index]}")

    def load_adapter(self, name: str, path: Path) -> None:
        self.threads.add(threading.current_thread().name)
        self.adapters.add(name)

    def unload_adapter(self, name: str) -> None:
        self.adapters.discard(name)

    def close(self) -> None:
        self.adapters.clear()
