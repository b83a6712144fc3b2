from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from daemon.web.guards import host_of
from daemon.web.serving import WebServer
from policies.errors import ConfigurationError
from policies.records import Policy

if TYPE_CHECKING:
    from tests.unit.daemon.web.conftest import House


def test_live_is_not_ready(house: House) -> None:
    assert house.client.get("/healthz").status_code == 200
    assert house.client.get("/readyz").status_code == 503
    house.controller.reconcile(Policy("b" * 64))
    response = house.client.get("/readyz")
    assert (response.status_code, response.json()["ready"]) == (200, True)


@pytest.mark.parametrize("fault", ["daemon", "upstream"])
def test_ready_names_what_is_missing(house: House, fault: str) -> None:
    house.controller.reconcile(Policy("b" * 64))
    if fault == "daemon":
        house.ready = False
    else:
        house.vllm._dead = True
    response = house.client.get("/readyz")
    assert response.status_code == 503
    assert [name for name, fine in response.json().items() if not fine] == ["ready", fault]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::2]"])
@pytest.mark.parametrize("path", ["/", "/metrics", "/v1/models", "/healthz"])
def test_foreign_hosts_are_refused(house: House, host: str, path: str) -> None:
    response = house.client.get(path, headers={"host": host})
    assert response.status_code == 421
    assert "evil" not in response.text


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("LOCALHOST:8080", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]:8080", "::1"),
        ("localhost.", "localhost"),
        ("", ""),
    ],
)
def test_host_is_read_without_its_port(header: str, host: str) -> None:
    assert host_of(header) == host


def test_metrics_and_status_are_what_was_given(house: House) -> None:
    house.status = {"deployed": None, "cycle": {"id": "c1", "state": "judging", "stages": []}}
    metrics = house.client.get("/metrics")
    assert metrics.content == b"primum_up 1\n"
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert house.client.get("/api/status").json() == house.status


def test_every_answer_has_the_security_headers(house: House) -> None:
    for path in ("/", "/api/status", "/assets/primum.css", "/nowhere"):
        headers = house.client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_documentation_of_the_api_is_not_served(house: House, path: str) -> None:
    assert house.client.get(path).status_code == 404


def test_taken_port_is_a_configuration_error() -> None:
    first = WebServer(None)
    first._socket.listen()
    with pytest.raises(ConfigurationError, match=r"mend web\.host and web\.port"):
        WebServer(None, port=first.port)
    first.stop()


def test_application_that_does_not_start_is_said_plainly() -> None:
    async def broken(scope: dict, receive: object, send: object) -> None:
        raise RuntimeError("lifespan fails")

    from fastapi import FastAPI

    app = FastAPI(lifespan=lambda _app: (_ for _ in ()).throw(RuntimeError("no")))  # type: ignore[arg-type,return-value]
    with pytest.raises(ConfigurationError, match="did not start"):
        WebServer(app).start()


def test_stopped_server_answers_no_more(house: House) -> None:
    house.server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{house.server.url}/healthz")
