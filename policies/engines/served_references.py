"""Asks a server what its models give to the tokens of reference answers, as vLLM tells it.

POST /tokenize turns question and answer into tokens, POST /v1/completions with `prompt_logprobs` tells of
them; the first stands beside /v1, not beneath it, and a reverse proxy has to let it through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import httpx

from policies.engines.patient_client import PatientClient, Refused
from policies.engines.reference_scores import TOP, Place, places, read_prompt_logprobs, read_tokens
from policies.errors import EngineError

T = TypeVar("T")


class Missing(EngineError):
    """What a server would have to offer for the measurement."""


class AskPolicy(Protocol):
    """POSTs `body` to `path` beneath /v1 and reads the answer; loads the policy again where it is lost."""

    def __call__(
        self, path: str, read: Callable[[httpx.Response], T], *, key: str, body: dict[str, Any], until: float
    ) -> Awaitable[T]: ...


async def served_places(
    ask: AskPolicy,
    client: PatientClient,
    references: Sequence[tuple[str, str]],
    *,
    model: str,
    base_model: str,
    concurrency: int,
    total_deadline_s: float,
) -> list[Place]:
    """What `model` gives to the tokens of the answers of (question, answer) pairs, in order.

    Missing where the server does not tell it; EngineError where it fails or the deadline passes.
    """
    until, slots = asyncio.get_running_loop().time() + total_deadline_s, asyncio.Semaphore(concurrency)

    async def one(number: int, question: str, answer: str) -> list[Place]:
        async with slots:
            ids, start = await _encoded(client, question, answer, base_model, f"reference {number}", until)
            return await _told(ask, ids, start, model, f"reference {number}", until)

    try:
        async with asyncio.timeout_at(until), asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number, *pair)) for number, pair in enumerate(references)]
    except TimeoutError as error:
        raise EngineError(f"the total deadline of {total_deadline_s:g} s passed") from error
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [place for task in tasks for place in task.result()]


async def _encoded(
    client: PatientClient, question: str, answer: str, model: str, key: str, until: float
) -> tuple[list[int], int]:
    """(ids of question and answer, where the answer starts). The two are tokenised apart, as `fidelity` does:
    no token spans them."""

    async def tokens(body: dict[str, Any]) -> list[int]:
        body = {"model": model, **body}
        root = client.root.removesuffix("/v1")
        return await client.request(
            "POST", "/tokenize", read_tokens, key=key, body=body, until=until, root=root
        )

    chat = {"messages": [{"role": "user", "content": question}], "add_generation_prompt": True}
    try:
        asked = await tokens(chat)
        told = await tokens({"prompt": answer, "add_special_tokens": False})
    except Refused as error:
        raise Missing(f"POST /tokenize is not served ({error}); vLLM serves it, beside /v1") from error
    if not asked:
        raise Missing("POST /tokenize does not know `messages`; vLLM does")
    return [*asked, *told], len(asked)


async def _told(
    ask: AskPolicy, ids: list[int], start: int, model: str, key: str, until: float
) -> list[Place]:
    body = {"model": model, "prompt": ids, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": TOP}
    try:
        found = await ask("/completions", read_prompt_logprobs, key=key, body=body, until=until)
    except Refused as error:
        raise Missing(
            f"POST /v1/completions with prompt_logprobs = {TOP} was refused for {key} ({error}); vLLM needs "
            f"--max-logprobs {TOP} or more and a --max-model-len that holds the reference"
        ) from error
    if found is None:
        raise Missing("POST /v1/completions gives no prompt_logprobs; vLLM does")
    try:
        return places(found, ids, start)
    except ValueError as error:
        raise Missing(
            f"prompt_logprobs cannot be used: {error}; vLLM needs --logprobs-mode raw_logprobs"
        ) from error
