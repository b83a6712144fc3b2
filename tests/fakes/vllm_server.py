"""A vLLM of our own making, over real HTTP, with the hazards of the real one.

    with FakeVllm() as vllm:
        upstream = Upstream(vllm.url)

An answer names the weights it came from ("answer of <8 hex digits>", or "answer of base"), so a test can see
which policy spoke. Reproduced: `load_inplace` reads the folder again while serving, and a folder that is gone
kills the engine; another load under the same name answers from a stale prefix cache; loads do not survive
`restart`.

It tells `prompt_logprobs` of a toy model: `log_probabilities(name, token before)` over `vocabulary` tokens.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from daemon.web.serving import WebServer

WEIGHTS = "adapter_model.safetensors"


def write_adapter(folder: Path, weights: str) -> Path:
    """An adapter folder with a true safetensors header and `weights` as its content."""
    folder.mkdir(parents=True)
    header = json.dumps({"__metadata__": {"of": weights}}).encode()
    (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / "card.json").write_text("{}")
    return folder


def answer_of(folder: Path) -> str:
    """What the fake answers with the weights in `folder`."""
    return f"answer of {hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()[:8]}"


@dataclass
class _Loaded:
    path: Path
    in_place: bool
    answer: str


class FakeVllm:
    """Context manager. `hold()` keeps answers back until `go()`; `failing` and `mute` name bad models.

    `hold_after_first_piece()` lets a stream begin, and keeps back all that follows its first piece.

    `max_logprobs` is vLLM's --max-logprobs; None makes a server that ignores what it does not know. Without
    `tokenizes` a reverse proxy lets only /v1 through. `shift` is added to each log-probability, as with
    --logprobs-mode raw_logits.
    """

    def __init__(
        self,
        *,
        base: str = "base",
        vocabulary: int = 60,
        max_logprobs: int | None = 20,
        tokenizes: bool = True,
        shift: float = 0.0,
    ) -> None:
        self.base, self.vocabulary, self.max_logprobs = base, vocabulary, max_logprobs
        self.tokenizes, self.shift = tokenizes, shift
        self.told: list[str] = []  # models that were asked for prompt_logprobs
        self.failing: set[str] = set()
        self.mute: set[str] = set()
        self.asked: list[str] = []
        self.calls: list[tuple[str, str]] = []  # (load | unload, name)
        self.bodies: list[dict[str, Any]] = []
        self._may_answer = threading.Event()
        self._may_answer.set()
        self._may_go_on = threading.Event()
        self._may_go_on.set()
        self._fresh()
        self._server = WebServer(self._app())

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def names(self) -> set[str]:
        return {self.base, *self._loaded}

    def __enter__(self) -> FakeVllm:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go()
        self._server.stop()

    def hold(self) -> None:
        self._may_answer.clear()

    def hold_after_first_piece(self) -> None:
        self._may_go_on.clear()

    def go(self) -> None:
        self._may_answer.set()
        self._may_go_on.set()

    def forget(self) -> None:
        """Lose what was loaded, as a replica that was replaced has."""
        self._fresh()

    def restart(self) -> None:
        """End and start on the same port. Everything loaded is lost, and so is the cache."""
        self._server.stop()
        self._fresh()
        self._server = WebServer(self._app(), port=self._server.port).start()

    def _fresh(self) -> None:
        self._loaded: dict[str, _Loaded] = {}
        self._prefix_cache: dict[tuple[str, str], str] = {}
        self._dead = False

    def _app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/health")
        def health() -> Response:
            return Response(status_code=500 if self._dead else 200)

        @app.get("/v1/models")
        def models() -> dict[str, Any]:
            cards = [{"id": self.base, "object": "model", "root": self.base, "parent": None}]
            for name, loaded in self._loaded.items():
                cards.append({"id": name, "object": "model", "root": str(loaded.path), "parent": self.base})
            return {"object": "list", "data": cards}

        @app.post("/v1/load_lora_adapter")
        async def load(request: Request) -> Response:
            return self._load(await request.json())

        @app.post("/v1/unload_lora_adapter")
        async def unload(request: Request) -> Response:
            name = (await request.json())["lora_name"]
            self.calls.append(("unload", name))
            if self._loaded.pop(name, None) is None:
                return _error(404, "NotFoundError")
            return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

        @app.post("/v1/chat/completions")
        def chat(body: dict[str, Any]) -> Response:
            return self._chat(body)

        self._token_routes(app)
        return app

    def _token_routes(self, app: FastAPI) -> None:
        @app.post("/tokenize")
        def tokenize(body: dict[str, Any]) -> Response:
            if not self.tokenizes:
                return _error(404, "NotFoundError")
            tokens = (
                self.asked_tokens(body["messages"]) if "messages" in body else self.tokens(body["prompt"])
            )
            return JSONResponse({"count": len(tokens), "max_model_len": 4096, "tokens": tokens})

        @app.post("/v1/completions")
        def complete(body: dict[str, Any]) -> Response:
            return self._complete(body)

    def tokens(self, text: str) -> list[int]:
        return [2 + ord(letter) % (self.vocabulary - 2) for letter in text]

    def asked_tokens(self, messages: list[dict[str, str]]) -> list[int]:
        """The fake's chat template: 0 opens the question, 1 the answer."""
        return [0, *self.tokens(messages[-1]["content"]), 1]

    def log_probabilities(self, name: str, before: int) -> list[float]:
        """The toy model's log-probabilities (nats) of each next token; an adapter's weights move them."""
        chance = random.Random(before)
        logits = [chance.gauss(0, 3) for _ in range(self.vocabulary)]
        if name in self._loaded:
            moved = random.Random(f"{self._loaded[name].answer} {before}")
            logits = [logit + moved.gauss(0, 1) for logit in logits]
        total = math.log(sum(map(math.exp, logits)))
        return [logit - total for logit in logits]

    def _complete(self, body: dict[str, Any]) -> Response:
        name, ids, wanted = body["model"], body["prompt"], body.get("prompt_logprobs")
        self.told.append(name)
        if name not in self.names:
            return _error(404, "NotFoundError")
        choice: dict[str, Any] = {"index": 0, "text": "x", "finish_reason": "length"}
        if self.max_logprobs is not None and wanted is not None:
            if wanted > self.max_logprobs:
                return _error(400, "BadRequestError")
            entries = [self._entry(name, *pair, wanted) for pair in pairwise(ids)]
            choice["prompt_logprobs"] = [None, *entries]
        return JSONResponse({"object": "text_completion", "model": name, "choices": [choice]})

    def _entry(self, name: str, before: int, token: int, wanted: int) -> dict[str, Any]:
        """The likeliest tokens and the one that stands there, by id as a string."""
        found = self.log_probabilities(name, before)
        ranked = sorted(range(self.vocabulary), key=lambda one: -found[one])
        listed = {token: None, **dict.fromkeys(ranked[:wanted])}
        return {
            str(one): {"logprob": found[one] + self.shift, "rank": ranked.index(one) + 1, "decoded_token": ""}
            for one in listed
        }

    def _load(self, body: dict[str, Any]) -> Response:
        name, path, in_place = body["lora_name"], Path(body["lora_path"]), body.get("load_inplace", False)
        self.calls.append(("load", name))
        if name in self._loaded and not in_place:
            return _error(400, "InvalidUserInput")
        if not (path / WEIGHTS).is_file():
            return _error(404, "NotFoundError")
        self._loaded[name] = _Loaded(path, in_place, answer_of(path))
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    def _chat(self, body: dict[str, Any]) -> Response:
        name, question = body["model"], json.dumps(body["messages"])
        self.asked.append(name)
        self.bodies.append(body)
        if name not in self.names:
            return _error(404, "NotFoundError")
        self._may_answer.wait(10.0)
        answer = self._answer(name, question)
        if self._dead or name in self.failing:
            return _error(500, "InternalServerError")
        # A name that was unloaded while its answer was made: the real engine fails such a request.
        if name not in self.names:
            return _error(500, "InternalServerError")
        text = "" if name in self.mute else answer
        if body.get("stream"):
            return StreamingResponse(self._events(name, text), media_type="text/event-stream")
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
        return JSONResponse({"object": "chat.completion", "model": name, "choices": [choice], "usage": usage})

    def _answer(self, name: str, question: str) -> str:
        loaded = self._loaded.get(name)
        if loaded is None:
            return "answer of base"
        if loaded.in_place:
            if not (loaded.path / WEIGHTS).is_file():
                self._dead = True
                return ""
            return answer_of(loaded.path)
        return self._prefix_cache.setdefault((name, question), loaded.answer)

    def _events(self, name: str, text: str) -> Iterator[bytes]:
        for piece in text.split(" "):
            delta = {"index": 0, "delta": {"content": piece + " "}, "finish_reason": None}
            yield b"data: " + json.dumps({"model": name, "choices": [delta]}).encode() + b"\n\n"
            self._may_go_on.wait(10.0)
        yield b"data: [DONE]\n\n"


def _error(code: int, kind: str) -> Response:
    message = "the fake says no, and repeats the secret prompt"
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": code}}, code)
