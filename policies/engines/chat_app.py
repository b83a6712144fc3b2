"""The application of the embedded policy server: OpenAI's chat endpoint and vLLM's LoRA endpoints.

It mimics vLLM so that releasing in the embedded default runs the very code that releases to vLLM. It
works over any ChatEngine and imports no torch.
"""

from __future__ import annotations

import asyncio
import hmac
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from policies.digests import seed_from
from policies.engines import wire
from policies.engines.adapters import adapter_digest, check_adapter_folder
from policies.engines.batcher import Batcher, ChatEngine, Question
from policies.errors import DataError, EngineError, Held, PrimumError
from policies.records import Policy

_EVERY_TOKEN = 2**31 - 1


class Refused(EngineError):
    """A request that is answered with an OpenAI-shaped error."""

    def __init__(self, message: str, *, status: int, kind: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.param = status, kind, param

    def response(self) -> JSONResponse:
        body = wire.error_body(str(self), kind=self.kind, code=self.status, param=self.param)
        headers = {"Retry-After": "1"} if self.status == 503 else None
        return JSONResponse(body, status_code=self.status, headers=headers)


@dataclass(frozen=True)
class Served:
    """A model name and the policy that answers under it."""

    name: str
    policy: Policy
    created: int


class Models:
    """The base and the adapters by name. Names are the caller's; the engine knows adapters by content."""

    def __init__(
        self, engine: ChatEngine, *, base_name: str, base_root: str, adapters_dir: Path | None
    ) -> None:
        self._engine, self._root = engine, base_root
        self._adapters_dir = adapters_dir.resolve() if adapters_dir else None
        self._base = Served(base_name, Policy(engine.base_digest), int(time.time()))
        self._served = {base_name: self._base}

    def find(self, name: str) -> Served:
        if name not in self._served:
            raise Refused("The model does not exist.", status=404, kind="NotFoundError", param="model")
        return self._served[name]

    def cards(self) -> list[dict[str, Any]]:
        digest = self._base.policy.base_digest
        base = wire.model_card(
            self._base.name, root=self._root, parent=None, created=self._base.created, base_digest=digest
        )
        loaded = [served for served in list(self._served.values()) if served is not self._base]
        adapters = [
            wire.model_card(
                served.name,
                root=str(served.policy.adapter_path),
                parent=self._base.name,
                created=served.created,
                adapter_digest=served.policy.adapter_digest,
            )
            for served in loaded
        ]
        return [base, *adapters]

    def load(self, request: wire.LoadRequest) -> None:
        """Load an adapter, on the engine's thread. Duplicates and foreign paths are refused as vLLM does."""
        if request.load_inplace:
            raise _bad("load_inplace is not served: give each version a name of its own", "load_inplace")
        if request.lora_name in self._served:
            raise _bad("The lora adapter has already been loaded under this name.", "lora_name")
        path = self._folder(request.lora_path)
        policy = Policy(self._base.policy.base_digest, adapter_digest(path), path)
        try:
            self._engine.load_adapter(str(policy.adapter_name), path)
        except EngineError as error:
            raise Refused(str(error), status=400, kind="BadRequestError", param="lora_path") from error
        self._served[request.lora_name] = Served(request.lora_name, policy, int(time.time()))

    def unload(self, request: wire.UnloadRequest) -> None:
        """Forget a name; the engine forgets the adapter with the last name that uses it."""
        served = self._served.get(request.lora_name)
        if served is None or served is self._base:
            raise Refused(
                "The lora adapter cannot be found.", status=404, kind="NotFoundError", param="lora_name"
            )
        del self._served[request.lora_name]
        if not any(other.policy == served.policy for other in self._served.values()):
            self._engine.unload_adapter(str(served.policy.adapter_name))

    def _folder(self, wanted: str) -> Path:
        if self._adapters_dir is None:
            raise _bad(
                "adapters cannot be loaded: the server was started without --adapters-dir", "lora_path"
            )
        path = Path(wanted).resolve()
        if not path.is_relative_to(self._adapters_dir) or path == self._adapters_dir:
            raise _bad("lora_path is not beneath the adapters folder of this server", "lora_path")
        if not path.is_dir():
            raise Refused(
                "No adapter found at lora_path.", status=404, kind="NotFoundError", param="lora_path"
            )
        try:
            check_adapter_folder(path)
        except DataError as error:
            raise _bad(str(error), "lora_path") from error
        return path


def _bad(message: str, param: str | None = None) -> Refused:
    return Refused(message, status=400, kind="InvalidUserInput", param=param)


class ChatService:
    """Turns chat requests into questions for the batcher and answers into OpenAI's shapes."""

    def __init__(
        self, batcher: Batcher, models: Models, *, seed: int, max_new_tokens: int, max_prompt_chars: int
    ) -> None:
        self._batcher, self._models = batcher, models
        self._seed, self._asked = seed, 0
        self._max_new_tokens, self._max_prompt_chars = max_new_tokens, max_prompt_chars

    async def complete(self, request: wire.ChatRequest) -> Response:
        served = self._models.find(request.model)
        question = self._question(request, served.policy)
        try:
            answer = await asyncio.wrap_future(self._batcher.ask(question))
        except DataError as error:
            raise _bad(str(error), "messages") from error
        except (Held, EngineError) as error:
            status, kind = (
                (503, "ServiceUnavailable") if isinstance(error, Held) else (500, "InternalServerError")
            )
            raise Refused(str(error), status=status, kind=kind) from error
        identity, created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
        if not request.stream:
            body = wire.completion_body(answer, model=request.model, identity=identity, created=created)
            return JSONResponse(body)
        usage = request.stream_options is not None and request.stream_options.include_usage
        events = wire.completion_events(
            answer, model=request.model, identity=identity, created=created, include_usage=usage
        )
        return StreamingResponse(events, media_type="text/event-stream")

    def _question(self, request: wire.ChatRequest, policy: Policy) -> Question:
        limit = request.max_completion_tokens or request.max_tokens or min(256, self._max_new_tokens)
        if limit > self._max_new_tokens:
            raise _bad(f"max_tokens may be at most {self._max_new_tokens}", "max_tokens")
        messages = tuple(message.plain() for message in request.messages)
        if sum(len(message["content"]) for message in messages) > self._max_prompt_chars:
            raise _bad(f"messages may hold at most {self._max_prompt_chars} characters together", "messages")
        self._asked += 1
        seed = seed_from(self._seed, self._asked) if request.seed is None else request.seed % 2**63
        top_k = request.top_k if request.top_k > 0 else _EVERY_TOKEN
        return Question(policy, messages, limit, request.temperature, top_k, seed)


def create_app(
    engine: ChatEngine,
    *,
    base_name: str = "base",
    base_root: str = "base",
    adapters_dir: Path | None = None,
    api_key: str | None = None,
    batch_size: int = 16,
    linger_s: float = 0.005,
    capacity: int = 256,
    seed: int = 0,
    max_new_tokens: int = 1024,
    max_prompt_chars: int = 24_000,
) -> FastAPI:
    """The server's application over any ChatEngine.

    Requests without a seed draw theirs from `seed`. With `api_key` every endpoint but /health wants it as a
    bearer token, the admin endpoints above all. `max_prompt_chars` bounds the memory of one forward pass.
    """
    batcher = Batcher(engine, batch_size=batch_size, capacity=capacity, linger_s=linger_s)
    models = Models(engine, base_name=base_name, base_root=base_root, adapters_dir=adapters_dir)
    service = ChatService(
        batcher, models, seed=seed, max_new_tokens=max_new_tokens, max_prompt_chars=max_prompt_chars
    )
    app = FastAPI(title="Primum policy server", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.batcher = batcher
    _shape_errors(app)
    if api_key:
        app.middleware("http")(partial(_demand_key, f"Bearer {api_key}"))

    @app.get("/health")
    async def health() -> Response:
        return Response(status_code=200 if batcher.alive else 503)

    @app.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": models.cards()}

    @app.post("/v1/chat/completions")
    async def chat(request: wire.ChatRequest) -> Response:
        return await service.complete(request)

    @app.post("/v1/load_lora_adapter")
    async def load(request: wire.LoadRequest) -> Response:
        await _wait(batcher.call(partial(models.load, request)))
        return PlainTextResponse("Success: LoRA adapter added successfully.")

    @app.post("/v1/unload_lora_adapter")
    async def unload(request: wire.UnloadRequest) -> Response:
        await _wait(batcher.call(partial(models.unload, request)))
        return PlainTextResponse("Success: LoRA adapter removed successfully.")

    return app


async def _wait(future: Future[None]) -> None:
    await asyncio.wrap_future(future)


async def _demand_key(
    expected: str, request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    given = request.headers.get("authorization", "")
    if request.url.path != "/health" and not hmac.compare_digest(given.encode(), expected.encode()):
        return Refused("missing or wrong API key", status=401, kind="AuthenticationError").response()
    return await call_next(request)


def _shape_errors(app: FastAPI) -> None:
    """Answer every error in OpenAI's shape, without repeating what was sent: prompts are patient data."""

    @app.exception_handler(Refused)
    async def refused(_request: Request, error: Refused) -> Response:
        return error.response()

    @app.exception_handler(PrimumError)
    async def failed(_request: Request, error: PrimumError) -> Response:
        return Refused(str(error), status=503, kind="ServiceUnavailable").response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"] if step != "body")
        return Refused(
            f"{place or 'body'}: {first['msg']}", status=400, kind="BadRequestError", param=place or None
        ).response()
