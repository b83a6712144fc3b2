"""OpenAI's chat shapes as our server and its clients speak them.

Pure: no network, no torch. Error bodies follow vLLM, so one client reads both servers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol

import httpx
from pydantic import BaseModel, Field


class Answer(Protocol):
    """What an engine gives back for one conversation."""

    @property
    def text(self) -> str: ...
    @property
    def finish_reason(self) -> str: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def tokens(self) -> int: ...


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One chat message; content as a string or as OpenAI's list of text parts."""

    role: Literal["system", "user", "assistant"]
    content: str | list[TextPart]

    def plain(self) -> dict[str, str]:
        parts = self.content
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        return {"role": self.role, "content": text}


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    """The part of OpenAI's request that is served; unknown fields are ignored, as vLLM does.

    Temperature defaults to 0, not to OpenAI's 1: an unvalidated sampling must be asked for.
    """

    model: str
    messages: list[Message] = Field(min_length=1, max_length=256)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0, allow_inf_nan=False)
    top_k: int = Field(default=50, ge=-1)
    seed: int | None = None
    n: Literal[1] = 1
    stream: bool = False
    stream_options: StreamOptions | None = None


class LoadRequest(BaseModel):
    lora_name: str = Field(min_length=1, max_length=128)
    lora_path: str = Field(min_length=1, max_length=4096)
    load_inplace: bool = False


class UnloadRequest(BaseModel):
    lora_name: str = Field(min_length=1, max_length=128)


def error_body(message: str, *, kind: str, code: int | str, param: str | None = None) -> dict[str, Any]:
    """OpenAI's error shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def model_card(name: str, *, root: str, parent: str | None, created: int, **extra: Any) -> dict[str, Any]:
    """An entry of GET /v1/models. vLLM gives an adapter's folder as root and the base's name as parent."""
    card = {"id": name, "object": "model", "created": created, "owned_by": "primum", "root": root}
    return {**card, "parent": parent, **extra}


def usage_of(answer: Answer) -> dict[str, int]:
    total = answer.prompt_tokens + answer.tokens
    return {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.tokens, "total_tokens": total}


def completion_body(answer: Answer, *, model: str, identity: str, created: int) -> dict[str, Any]:
    """A whole chat.completion."""
    message = {"role": "assistant", "content": answer.text}
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason, "logprobs": None}
    head = {"id": identity, "object": "chat.completion", "created": created, "model": model}
    return {**head, "choices": [choice], "usage": usage_of(answer)}


def completion_events(
    answer: Answer, *, model: str, identity: str, created: int, include_usage: bool
) -> Iterator[bytes]:
    """The same as server-sent events: one delta, the finish, usage where asked for, [DONE]."""
    head = {"id": identity, "object": "chat.completion.chunk", "created": created, "model": model}

    def event(choices: list[dict[str, Any]], **more: Any) -> bytes:
        return b"data: " + json.dumps({**head, "choices": choices, **more}).encode() + b"\n\n"

    yield event([{"index": 0, "delta": {"role": "assistant", "content": answer.text}, "finish_reason": None}])
    yield event([{"index": 0, "delta": {}, "finish_reason": answer.finish_reason}])
    if include_usage:
        yield event([], usage=usage_of(answer))
    yield b"data: [DONE]\n\n"


def readable_url(url: str) -> str:
    """The URL without credentials or query, fit for messages and logs."""
    scheme, _, rest = url.partition("://")
    host = rest.split("?")[0].rsplit("@", 1)[-1]
    return f"{scheme}://{host}"


def api_root(url: str) -> str:
    """`url` with exactly one /v1 at its end, whichever way a person wrote it."""
    root = url.rstrip("/")
    return root if root.endswith("/v1") else f"{root}/v1"


def error_kind(body: Any) -> str:
    """The type or code of an OpenAI error, never its message: servers echo prompts there."""
    inner = body.get("error", body) if isinstance(body, Mapping) else None
    if not isinstance(inner, Mapping):
        return "no error type given"
    word = str(inner.get("type") or inner.get("code") or "")
    return word if word.replace("_", "").isalnum() and len(word) <= 40 else "no error type given"


def read_cards(response: httpx.Response) -> dict[str, dict[str, Any]]:
    """GET /v1/models by name. ValueError where the body is not a list of models."""
    body = response.json()
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list) or not all(isinstance(card, dict) and "id" in card for card in data):
        raise ValueError("not a list of models")
    return {str(card["id"]): card for card in data}


def read_answer(response: httpx.Response) -> tuple[str, str, int]:
    """(text, finish reason, completion tokens). ValueError where the body is not a chat completion."""
    try:
        body = response.json()
        choice = body["choices"][0]
        text = choice["message"]["content"] or ""
        tokens = (body.get("usage") or {}).get("completion_tokens") or 0
        finish = choice["finish_reason"]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError("not a chat completion") from error
    if not isinstance(text, str) or not isinstance(finish, str) or not isinstance(tokens, int):
        raise ValueError("not a chat completion")
    return storable(text), finish, tokens


def storable(text: str) -> str:
    """`text` with a question mark for each lone surrogate: JSON may hold half an emoji, UTF-8 may not."""
    return text.encode("utf-8", "replace").decode()
