"""The daemon's HTTP face: the deployed policy, health that is true, metrics, status, a page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from daemon.release.router import Route
from daemon.release.upstream import UrlSource
from daemon.web.chat import ALIAS, ChatProxy
from daemon.web.guards import LOOPBACK_HOSTS, Guard
from daemon.web.page import render_status, stylesheet
from policies.engines.wire import model_card

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def create_app(
    *,
    route: Route,
    upstream_url: UrlSource,
    status: Callable[[], Mapping[str, Any]],
    metrics: Callable[[], bytes],
    ready: Callable[[], bool],
    allowed_hosts: Sequence[str] = LOOPBACK_HOSTS,
    upstream_api_key: str | None = None,
    default_sampling: Mapping[str, Any] | None = None,
    answer_timeout_s: float = 300.0,
    max_connections: int = 512,
) -> FastAPI:
    """The application. `status`, `metrics` and `ready` are called in threads and may read the database.

    `status` gives what daemon/web/page.py documents. `default_sampling` (OpenAI's field names) fills what
    chat requests leave open; greedy where it is not given. Serve it with one process: a second one would not
    know this route.
    """
    headers = {"Authorization": f"Bearer {upstream_api_key}"} if upstream_api_key else {}
    client = httpx.AsyncClient(
        timeout=httpx.Timeout(answer_timeout_s, connect=5.0),
        limits=httpx.Limits(max_connections=max_connections),
        headers=headers,
        trust_env=False,  # a proxy from the environment must not see prompts
    )
    proxy = ChatProxy(
        route=route,
        upstream_url=upstream_url,
        client=client,
        defaults={"temperature": 0.0} if default_sampling is None else default_sampling,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    app = FastAPI(title="Primum", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, allowed_hosts=tuple(allowed_hosts))
    _add_policy_routes(app, route, proxy)
    _add_operations_routes(app, route, proxy, metrics, ready)
    _add_people_routes(app, status)
    return app


def _add_policy_routes(app: FastAPI, route: Route, proxy: ChatProxy) -> None:
    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await proxy.handle(request)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        target = route.current
        if target is None:
            return {"object": "list", "data": []}
        cards = [model_card(name, root=target.name, parent=None, created=0) for name in (target.name, ALIAS)]
        return {"object": "list", "data": cards}


def _add_operations_routes(
    app: FastAPI,
    route: Route,
    proxy: ChatProxy,
    metrics: Callable[[], bytes],
    ready: Callable[[], bool],
) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/readyz")
    async def readyz() -> Response:
        checks = {
            "released": route.current is not None,
            "upstream": await proxy.alive(),
            "daemon": await run_in_threadpool(ready),
        }
        return JSONResponse({"ready": all(checks.values()), **checks}, 200 if all(checks.values()) else 503)

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(await run_in_threadpool(metrics), media_type=METRICS_TYPE)


def _add_people_routes(app: FastAPI, status: Callable[[], Mapping[str, Any]]) -> None:
    @app.get("/api/status")
    async def api_status() -> Response:
        return JSONResponse(jsonable_encoder(await run_in_threadpool(status)))

    @app.get("/")
    async def page() -> Response:
        return HTMLResponse(render_status(jsonable_encoder(await run_in_threadpool(status))))

    @app.get("/assets/primum.css")
    async def css() -> Response:
        return Response(stylesheet(), media_type="text/css")
