"""What every request passes first: an allowed Host, and headers that give a browser nothing to play with."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from policies.engines.wire import error_body

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def host_of(header: str) -> str:
    """The Host header without its port, lower case; brackets of IPv6 removed."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


class Guard:
    """ASGI middleware. A foreign Host is refused: a page that rebinds its name to us sends that name.

    Plain ASGI, because wrappers that re-create responses break streaming and cancel what they wrap.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str]) -> None:
        self._app = app
        self._allowed = frozenset(host.lower() for host in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers[name] = value
            await send(message)

        if host_of(Headers(scope=scope).get("host", "")) in self._allowed:
            await self._app(scope, receive, send_with_headers)
            return
        body = error_body("host not allowed; see web.allowed_hosts", kind="invalid_request_error", code=421)
        await JSONResponse(body, status_code=421)(scope, receive, send_with_headers)
