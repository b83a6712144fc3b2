"""The admin surface of the server that answers: which models it has, load, unload, probe. vLLM's endpoints.

Keep that surface private: vLLM's --api-key does not cover every endpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any, TypeVar

import httpx

from policies.engines import wire
from policies.errors import EngineError

T = TypeVar("T")
UrlSource = str | Callable[[], str | None]

# A fixed, harmless question, so that no patient's words are used to see whether a policy answers.
PROBE_QUESTION = "What is a normal resting heart rate for an adult?"


def current_url(source: UrlSource) -> str | None:
    """The upstream's URL now; None while the embedded server is not up."""
    return source if isinstance(source, str) else source()


class Upstream:
    """A server's models and adapters. Every failure is an EngineError without the server's own words."""

    def __init__(
        self,
        url: UrlSource,
        *,
        api_key: str | None = None,
        timeout_s: float = 10.0,
        load_timeout_s: float = 120.0,
        probe_timeout_s: float = 60.0,
    ) -> None:
        self._url = url
        self._load_timeout_s, self._probe_timeout_s = load_timeout_s, probe_timeout_s
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # A proxy in the environment would get the key, and answer for a server on the loopback.
        self._client = httpx.Client(timeout=timeout_s, headers=headers, trust_env=False)

    def models(self) -> dict[str, dict[str, Any]]:
        """The served models by name: base and adapters, with their root and parent."""
        return self._read(self._send("GET", "/models"), wire.read_cards)

    def load(self, name: str, path: PurePath) -> None:
        """Load an adapter under a name of its own, never in place. That it is there already is a failure."""
        body = {"lora_name": name, "lora_path": str(path)}
        self._send("POST", "/load_lora_adapter", body=body, timeout_s=self._load_timeout_s)

    def unload(self, name: str) -> None:
        """Unload an adapter. One that the server does not have is unloaded already."""
        self._send("POST", "/unload_lora_adapter", body={"lora_name": name}, missing_is_fine=True)

    def probe(self, name: str) -> str:
        """Ask the model a real question. EngineError where it answers nothing or as another model."""
        messages = [{"role": "user", "content": PROBE_QUESTION}]
        body = {"model": name, "messages": messages, "max_tokens": 16, "temperature": 0.0, "seed": 0}
        response = self._send("POST", "/chat/completions", body=body, timeout_s=self._probe_timeout_s)
        text, _, _ = self._read(response, wire.read_answer)
        if response.json().get("model") != name:
            raise EngineError(f"{self._where()} answered as another model when {name} was asked")
        if not text.strip():
            raise EngineError(f"{name} answered the probe with nothing")
        return text

    def alive(self) -> bool:
        """Whether the server answers GET /v1/models now."""
        try:
            self.models()
        except EngineError:
            return False
        return True

    def close(self) -> None:
        self._client.close()

    def _where(self) -> str:
        return wire.readable_url(current_url(self._url) or "http://the-embedded-server")

    def _read(self, response: httpx.Response, read: Callable[[httpx.Response], T]) -> T:
        try:
            return read(response)
        except ValueError as error:
            raise EngineError(f"{self._where()} answered {response.url.path} unreadably: {error}") from error

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        timeout_s: float | None = None,
        missing_is_fine: bool = False,
    ) -> httpx.Response:
        url = current_url(self._url)
        if url is None:
            raise EngineError("the embedded policy server is not up; its log says why")
        timeout = httpx.USE_CLIENT_DEFAULT if timeout_s is None else httpx.Timeout(timeout_s)
        try:
            response = self._client.request(method, wire.api_root(url) + path, json=body, timeout=timeout)
        except httpx.RequestError as error:
            raise EngineError(f"{self._where()} cannot be reached ({type(error).__name__})") from error
        missing = missing_is_fine and response.status_code == httpx.codes.NOT_FOUND
        if response.is_success or missing:
            return response
        try:
            kind = wire.error_kind(response.json())
        except ValueError:
            kind = "no error type given"
        raise EngineError(f"{self._where()} refused {path}: HTTP {response.status_code} ({kind})")
