"""What a chat request may be: small, JSON, text only, and of fields whose effect is known.

A server behind us may know more fields than we do: templates of the caller's own, images that it would fetch
from inside the network. What is not listed here does not pass.
"""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import TypeAdapter, ValidationError

from policies.engines.wire import Message, error_body

BODY_LIMIT = 1 << 20  # bytes
MOST_PIECES = 1024  # messages and their parts; the policy server takes 256 messages
# fmt: off
PASSED = frozenset({
    "model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "seed",
    "stop", "stream", "stream_options", "n", "presence_penalty", "frequency_penalty",
})
IGNORED = frozenset({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"})
# fmt: on
_MESSAGES = TypeAdapter(list[Message])


class Refusal(Exception):
    """A response in OpenAI's error shape. `retry` asks the client to come again in a second."""

    def __init__(self, status: int, message: str, kind: str, *, retry: bool = False) -> None:
        super().__init__(message)
        body = error_body(message, kind=kind, code=status)
        self.response = JSONResponse(body, status, headers={"Retry-After": "1"} if retry else None)


async def read_chat(request: Request) -> dict[str, Any]:
    """The request's fields, nulls left out. Raises Refusal: 400, 413 or 415."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # A form or text/plain could be posted by any web page without the browser asking us first.
        raise Refusal(415, "Content-Type must be application/json", "invalid_request_error")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_LIMIT:
            raise Refusal(413, f"a request may have at most {BODY_LIMIT} bytes", "invalid_request_error")
    try:
        asked = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _bad("the body is not valid JSON") from error
    if not isinstance(asked, dict):
        raise _bad("the body must be a JSON object")
    return _checked(asked)


def _checked(asked: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in asked.items() if value is not None and name not in IGNORED}
    if foreign := given.keys() - PASSED:
        # Only words are repeated: a field's name is the caller's text too.
        names = ", ".join(sorted(name for name in foreign if name.isidentifier() and len(name) <= 40))
        raise _bad(f"fields that are not served: {names or 'unreadable names'}")
    if _pieces(given.get("messages")) > MOST_PIECES:
        raise _bad(f"messages: at most {MOST_PIECES} messages and parts of messages")
    try:
        messages = _MESSAGES.validate_python(given.get("messages"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise _bad(f"messages{'.' + place if place else ''}: {first['msg']}") from error
    if not messages:
        raise _bad("messages: at least one is needed")
    return {**given, "messages": [message.plain() for message in messages]}


def _pieces(messages: Any) -> int:
    """Counted before they are looked at: an error for each of half a million would take seconds."""
    if not isinstance(messages, list):
        return 0
    parts = (one.get("content") if isinstance(one, dict) else None for one in messages)
    return len(messages) + sum(len(part) for part in parts if isinstance(part, list))


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _bad(message: str) -> Refusal:
    return Refusal(400, message, "invalid_request_error")
