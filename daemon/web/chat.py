"""POST /v1/chat/completions: passed on to whichever model is deployed when the request begins.

A request is bound to that model until its last byte, so a release drops none. Nothing of prompt or answer is
logged or repeated in an error.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
from fastapi import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from daemon.release.router import Route, Target
from daemon.release.upstream import UrlSource, current_url
from daemon.web.intake import Refusal, read_chat
from policies.digests import short
from policies.engines import wire
from policies.errors import StateError

ALIAS = "deployed"
POLICY_HEADER = "x-primum-policy"


class _Relay(StreamingResponse):
    """Streams the upstream's bytes and cleans up however the client leaves, even before the first byte."""

    def __init__(
        self, upstream: httpx.Response, done: Callable[[], None], headers: Mapping[str, str]
    ) -> None:
        super().__init__(_bytes_of(upstream), media_type="text/event-stream", headers=headers)
        self._upstream, self._done = upstream, done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            try:
                await self._upstream.aclose()
            finally:
                self._done()


async def _bytes_of(upstream: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in upstream.aiter_bytes():
            yield piece
    except httpx.RequestError:
        # The status is sent already: an error event is the one way left to say that this is not the end.
        body = wire.error_body("the policy server broke off", kind="upstream_error", code=502)
        yield b"data: " + json.dumps(body).encode() + b"\n\n"


class ChatProxy:
    """Passes chat requests on. `defaults` fill what a request leaves open, so that the sampling that was
    validated is the sampling that is served."""

    def __init__(
        self,
        *,
        route: Route,
        upstream_url: UrlSource,
        client: httpx.AsyncClient,
        defaults: Mapping[str, Any],
    ) -> None:
        self._route, self._upstream_url, self._client = route, upstream_url, client
        self._defaults = dict(defaults)

    async def handle(self, request: Request) -> Response:
        """The upstream's answer, or an error in OpenAI's shape: 400, 404, 413, 415, 502, 503 or 504."""
        try:
            asked = await read_chat(request)
            target = self._begin()
        except Refusal as refusal:
            return refusal.response
        try:
            response = await self._pass_on(asked, target)
        except Refusal as refusal:
            self._route.end(target)
            return refusal.response
        except BaseException:  # a cancelled request must not count as in flight for ever
            self._route.end(target)
            raise
        if not isinstance(response, _Relay):
            self._route.end(target)
        return response

    async def alive(self) -> bool:
        """Whether the upstream answers /health now."""
        url = current_url(self._upstream_url)
        if url is None:
            return False
        health = wire.api_root(url).removesuffix("/v1") + "/health"
        try:
            response = await self._client.get(health, timeout=2.0)
        except httpx.RequestError:
            return False
        return response.is_success

    def _begin(self) -> Target:
        try:
            return self._route.begin()
        except StateError as error:
            raise Refusal(503, str(error), "service_unavailable", retry=True) from error

    async def _pass_on(self, asked: dict[str, Any], target: Target) -> Response:
        if asked.get("model") not in (None, "", ALIAS, target.name):
            message = f"only the deployed policy is served: {ALIAS!r} or {target.name!r}"
            raise Refusal(404, message, "model_not_found")
        body = {**self._defaults, **asked, "model": target.name}
        upstream = await self._send(body)
        headers = {POLICY_HEADER: short(target.policy.digest)}
        if upstream.is_success and body.get("stream") is True:
            return _Relay(upstream, lambda: self._route.end(target), headers)
        try:
            await upstream.aread()
            told = upstream.json()
        except (httpx.RequestError, ValueError) as error:
            raise Refusal(502, "the policy server broke off", "upstream_error", retry=True) from error
        finally:
            await upstream.aclose()
        if upstream.status_code in (401, 403, 404):
            # Ours to mend, not the client's: the server has lost the adapter, or wants another key.
            raise Refusal(503, "the deployed policy is being restored", "service_unavailable", retry=True)
        if upstream.is_success and isinstance(told, dict):
            told["model"] = target.name
        if "retry-after" in upstream.headers:
            headers["Retry-After"] = upstream.headers["retry-after"]
        return JSONResponse(told, upstream.status_code, headers=headers)

    async def _send(self, body: Mapping[str, Any]) -> httpx.Response:
        url = current_url(self._upstream_url)
        if url is None:
            raise Refusal(503, "the policy server is starting", "service_unavailable", retry=True)
        try:
            request = self._client.build_request("POST", wire.api_root(url) + "/chat/completions", json=body)
        except ValueError as error:  # half of a surrogate pair, an endless number
            raise Refusal(400, "the request holds what JSON cannot say", "invalid_request_error") from error
        try:
            return await self._client.send(request, stream=True)
        except httpx.TimeoutException as error:
            raise Refusal(504, "the policy server took too long", "upstream_timeout", retry=True) from error
        except httpx.RequestError as error:
            message = "the policy server cannot be reached"
            raise Refusal(502, message, "upstream_error", retry=True) from error
