"""A real HTTP server that speaks /v1/chat/completions and /v1/models, and misbehaves on demand.

    with OpenAIServer(reply=lambda request: "Refuse", script=[Status(429, retry_after=0), Hang()]) as server:
        client = openai.OpenAI(base_url=server.base_url, api_key="k")

`script` is used up one behaviour per chat request, in order of arrival; afterwards every request is answered.
`script_for(text, …)` does the same for requests that hold a text, whenever they arrive.
The reply's text is a function of the request's JSON.
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Request = dict[str, Any]


@dataclass(frozen=True)
class Status:
    """An error status, with Retry-After in seconds where given. `message` is the body's error message."""

    code: int
    retry_after: float | str | None = None
    message: str = "the fake was told to fail"


@dataclass(frozen=True)
class Hang:
    """Reads the request and says nothing until the server closes."""


@dataclass(frozen=True)
class Slow:
    """An ordinary reply after some seconds."""

    seconds: float


@dataclass(frozen=True)
class TruncatedBody:
    """Promises a whole body, sends half of it and closes the connection."""


@dataclass(frozen=True)
class RawBody:
    """Status 200 with this body, whatever it is: invalid JSON, another shape, HTML."""

    body: str = '{"choices": [{"mess'


@dataclass(frozen=True)
class Say:
    """An ordinary reply whose message has this very content, unwrapped."""

    content: str | None
    finish_reason: str = "stop"
    refusal: str | None = None


Behaviour = Status | Hang | Slow | TruncatedBody | RawBody | Say


class OpenAIServer:
    """Context manager. `calls` counts chat requests, `requests` keeps their bodies in order of arrival.

    Where a request has a JSON schema as response_format, the reply's text becomes the value of the schema's
    first property. `rejects` names request fields (such as `response_format`) that are answered with 400.
    With `api_key` set, another key gets 401 with a message that repeats it, as the real server does.
    `probabilities(request)` (first word of the reply → probability) turns up in the logprobs of the label's
    token.
    """

    def __init__(
        self,
        reply: Callable[[Request], str] = lambda request: "Hello.",
        *,
        script: Sequence[Behaviour] = (),
        models: Sequence[str] = ("fake",),
        rejects: Sequence[str] = (),
        api_key: str | None = None,
        probabilities: Callable[[Request], Mapping[str, float]] | None = None,
        usage: bool = True,
    ) -> None:
        self.reply, self.models, self.rejects = reply, list(models), tuple(rejects)
        self.api_key, self.probabilities, self.usage = api_key, probabilities, usage
        self.requests: list[Request] = []
        self.paths: list[str] = []
        self._script = list(script)
        self._scripts: dict[str, list[Behaviour]] = {}
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self.in_flight = self.most_in_flight = 0

    def __enter__(self) -> OpenAIServer:
        handler = type("Handler", (_Handler,), {"fake": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def base_url(self) -> str:
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}/v1"

    @property
    def calls(self) -> int:
        return len(self.requests)

    def script_for(self, text: str, *behaviours: Behaviour) -> None:
        """Behaviours for requests whose last message holds `text`, in place of the common script."""
        self._scripts[text] = list(behaviours)

    def take(self, request: Request) -> Behaviour | None:
        """Records a chat request and gives the behaviour that a script has for it."""
        last = str(request["messages"][-1]["content"])
        with self._lock:
            self.requests.append(request)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            script = next((own for text, own in self._scripts.items() if text in last), self._script)
            return script.pop(0) if script else None

    def done(self) -> None:
        with self._lock:
            self.in_flight -= 1

    def completion(self, request: Request, said: Say | None = None) -> dict[str, Any]:
        """The body of an ordinary reply."""
        content = said.content if said else _shaped(request, self.reply(request))
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": content, "refusal": said.refusal if said else None},
            "finish_reason": said.finish_reason if said else "stop",
        }
        if request.get("logprobs") and self.probabilities and content:
            choice["logprobs"] = {"content": _logprobs(content, self.probabilities(request))}
        body = {
            "id": f"chatcmpl-{self.calls}",
            "object": "chat.completion",
            "created": 0,
            "model": request.get("model", "fake"),
            "choices": [choice],
        }
        if self.usage:
            sent = sum(
                len(str(message.get("content", "")).split()) for message in request.get("messages", [])
            )
            received = len((content or "").split())
            body["usage"] = {
                "prompt_tokens": sent,
                "completion_tokens": received,
                "total_tokens": sent + received,
            }
        return body


class _Handler(BaseHTTPRequestHandler):
    fake: OpenAIServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or keep-alive costs 40 ms a reply

    def do_GET(self) -> None:
        self.fake.paths.append(self.path)
        if self.path == "/v1/models":
            data = [
                {"id": model, "object": "model", "created": 0, "owned_by": "fake"}
                for model in self.fake.models
            ]
            self._send(200, {"object": "list", "data": data})
        else:
            self._send(404, _error("no such path"))

    def do_POST(self) -> None:
        self.fake.paths.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path != "/v1/chat/completions":
            self._send(404, _error("no such path"))
            return
        request = json.loads(body)
        behaviour = self.fake.take(request)
        try:
            self._chat(request, behaviour)
        finally:
            self.fake.done()

    def _chat(self, request: Request, behaviour: Behaviour | None) -> None:
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        rejected = [name for name in self.fake.rejects if name in request]
        if self.fake.api_key is not None and key != self.fake.api_key:
            self._send(401, _error(f"Incorrect API key provided: {key}"))
        elif isinstance(behaviour, Status):
            headers = {} if behaviour.retry_after is None else {"Retry-After": str(behaviour.retry_after)}
            self._send(behaviour.code, _error(behaviour.message), headers)
        elif isinstance(behaviour, Hang):
            self.fake.closing.wait()
            self.close_connection = True
        elif isinstance(behaviour, TruncatedBody):
            whole = json.dumps(self.fake.completion(request)).encode()
            self._send_bytes(200, whole[: len(whole) // 2], length=len(whole))
            self.close_connection = True
        elif isinstance(behaviour, RawBody):
            self._send_bytes(200, behaviour.body.encode())
        elif rejected:
            self._send(400, _error(f"Unsupported parameter: '{rejected[0]}'"))
        else:
            if isinstance(behaviour, Slow):
                time.sleep(behaviour.seconds)
            self._send(200, self.fake.completion(request, behaviour if isinstance(behaviour, Say) else None))

    def _send(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self._send_bytes(status, json.dumps(body).encode(), headers=headers)

    def _send_bytes(
        self, status: int, body: bytes, *, length: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        try:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:  # the client went away, as clients with deadlines do
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Silent: requests hold prompts."""


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "fake_error", "param": None, "code": None}}


def _shaped(request: Request, text: str) -> str:
    schema = (request.get("response_format") or {}).get("json_schema", {}).get("schema", {})
    properties = list(schema.get("properties", {}))
    return json.dumps({properties[0]: text}) if properties else text


def _logprobs(content: str, probabilities: Mapping[str, float]) -> list[dict[str, Any]]:
    """Tokens of at most three letters; the first token of the first word in `probabilities` has the
    alternatives."""
    word = next((word for word in re.findall(r"[A-Za-z]+", content) if word in probabilities), None)
    start = content.index(word) if word else -1
    tokens: list[dict[str, Any]] = []
    for match in re.finditer(r"[A-Za-z]{1,3}|[^A-Za-z]", content):
        chosen = word if match.start() == start else None
        tops = (
            {name[:3]: math.log(share) for name, share in probabilities.items()}
            if chosen
            else {match.group(): 0.0}
        )
        tokens.append(
            {
                "token": match.group(),
                "logprob": tops.get(match.group(), 0.0),
                "bytes": None,
                "top_logprobs": [{"token": t, "logprob": p, "bytes": None} for t, p in tops.items()],
            }
        )
    return tokens
