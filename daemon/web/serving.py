"""Runs an application under uvicorn in a thread, on a socket bound beforehand, and stops it in order."""

from __future__ import annotations

import socket
import threading
from typing import Any

import uvicorn

from policies.errors import ConfigurationError


class WebServer:
    """One application on one address. Port 0 takes a free one; `port` tells which.

    The access log is off: paths and addresses of patients' requests are nobody's reading.
    """

    def __init__(self, app: Any, *, host: str = "127.0.0.1", port: int = 0, stop_timeout_s: int = 10) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise ConfigurationError(
                f"cannot listen on {host}:{port} ({error.strerror}); mend web.host and web.port"
            ) from error
        self.host, self.port = host, int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=stop_timeout_s,
            server_header=False,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._run, name=f"web-{self.port}", daemon=True)

    @property
    def url(self) -> str:
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self, *, timeout_s: float = 30.0) -> WebServer:
        """Returns once requests are answered. ConfigurationError where the application does not start."""
        self._thread.start()
        if not self._server.settled.wait(timeout_s) or not self._server.started:
            self.stop()
            raise ConfigurationError(f"the web server on {self.host}:{self.port} did not start; see the log")
        return self

    def stop(self) -> None:
        """Let requests in flight end (bounded by stop_timeout_s), then close. Safe to call twice."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except SystemExit:  # uvicorn's way to say that startup failed; the log has the reason
            pass
        finally:
            self._server.settled.set()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.settled.set()
