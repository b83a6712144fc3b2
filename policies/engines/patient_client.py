"""HTTP to an OpenAI-compatible server: what may be repeated is repeated, what may not has a name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx

from policies.engines import wire
from policies.engines.retries import HOPELESS, RETRYABLE, Backoff, retry_after_s
from policies.errors import EngineError

T = TypeVar("T")


class Hopeless(EngineError):
    """No other ask would fare better: stop them all."""


class Refused(EngineError):
    """The server will not do what was asked, however often it is asked."""


class NotFound(Refused):
    """The server does not know the model, or the address."""


class PatientClient:
    """Sends requests with bounded repetition. The key is in the HTTP client's headers and in no message.

    `root` is the server's address with /v1, `where` the same without credentials. `sleep` and `client` are
    for tests.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        max_connections: int,
        max_retries: int,
        request_timeout_s: float,
        client: httpx.AsyncClient | None,
        backoff: Backoff,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.root, self.where = wire.api_root(base_url), wire.readable_url(base_url)
        self._max_retries, self._request_timeout_s = max_retries, request_timeout_s
        self._backoff, self._sleep = backoff, sleep
        limits = httpx.Limits(max_connections=max_connections)
        # A proxy in the environment would read prompts and the key.
        self._client = client or httpx.AsyncClient(timeout=request_timeout_s, limits=limits, trust_env=False)
        if api_key:
            self._client.headers["Authorization"] = f"Bearer {api_key}"

    async def aclose(self) -> None:
        await self._client.aclose()

    async def request(
        self,
        method: str,
        path: str,
        read: Callable[[httpx.Response], T],
        *,
        key: str,
        body: dict[str, Any] | None = None,
        until: float | None = None,
        root: str | None = None,
    ) -> T:
        """Send, read, and repeat what may be repeated. `read` raises ValueError on a broken body."""
        attempt = 0
        while True:
            asked_s: float | None = None
            try:
                async with asyncio.timeout(self._request_timeout_s):
                    response = await self._client.request(method, (root or self.root) + path, json=body)
                if response.is_success:
                    return read(response)
                problem = self._problem(response)
                asked_s = retry_after_s(response.headers, time.time())
            except (httpx.RequestError, TimeoutError) as error:
                problem = type(error).__name__
            except ValueError:
                problem = "an unreadable answer"
            if attempt >= self._max_retries:
                raise EngineError(f"{problem} in each of {attempt + 1} attempts")
            wait_s = max(self._backoff.wait_s(key, attempt), asked_s or 0.0)
            if until is not None and asyncio.get_running_loop().time() + wait_s > until:
                raise EngineError(f"{problem}, and waiting {wait_s:.0f} s would pass the total deadline")
            await self._sleep(wait_s)
            attempt += 1

    def _problem(self, response: httpx.Response) -> str:
        """What to call a failed response that may be retried; raises where repeating is of no use."""
        status = response.status_code
        try:
            kind = wire.error_kind(response.json())
        except ValueError:
            kind = "no error type given"
        problem = f"HTTP {status} ({kind})"
        if status in HOPELESS:
            raise Hopeless(f"{problem}: check the API key of {self.where}")
        if status == httpx.codes.NOT_FOUND:
            raise NotFound(problem)
        if status not in RETRYABLE:
            raise Refused(problem)
        return problem
