from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from daemon.release.artifacts import store_adapter
from daemon.release.controller import ReleaseController
from daemon.release.router import Route
from daemon.release.upstream import Upstream
from daemon.web.app import create_app
from daemon.web.serving import WebServer
from policies.records import Policy
from tests.fakes.vllm_server import FakeVllm, write_adapter


class House:
    """The web application over a fake vLLM, with the real route and release controller between them."""

    def __init__(self, vllm: FakeVllm, folder: Path) -> None:
        self.vllm, self.folder, self.route = vllm, folder, Route()
        self.upstream = Upstream(vllm.url)
        self.controller = ReleaseController(
            upstream=self.upstream,
            route=self.route,
            base_model_name="base",
            adapters_dir=folder / "adapters",
            drain_timeout_s=5.0,
        )
        self.status: dict[str, Any] = {}
        self.ready = True
        self.server = WebServer(
            create_app(
                route=self.route,
                upstream_url=vllm.url,
                status=lambda: self.status,
                metrics=lambda: b"primum_up 1\n",
                ready=lambda: self.ready,
            )
        )
        self.client = httpx.Client(base_url=self.server.url, timeout=10.0)

    def policy(self, weights: str) -> Policy:
        source = write_adapter(self.folder / f"from {weights}", weights)
        digest, path = store_adapter(source, self.folder / "adapters")
        return Policy("b" * 64, digest, path)

    def ask(self, text: str = "hello", **fields: Any) -> httpx.Response:
        body = {"messages": [{"role": "user", "content": text}], **fields}
        return self.client.post("/v1/chat/completions", json=body)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with FakeVllm() as vllm:
        made = House(vllm, tmp_path)
        made.server.start()
        yield made
        vllm.go()
        made.client.close()
        made.server.stop()
        made.upstream.close()
