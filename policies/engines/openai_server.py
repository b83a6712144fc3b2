"""Any OpenAI-compatible server (vLLM, our own) as an engine: concurrent, bounded retries, a total deadline.

Adapters answer under their content-hashed name; a missing one is loaded by vLLM's admin endpoint. Nothing is
ever unloaded here: the name may be the deployed one by then, and that is the release controller's work.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx

from policies.digests import digest_of, short
from policies.engines import wire
from policies.engines.adapters import adapter_digest, check_adapter_folder
from policies.engines.patient_client import Hopeless, NotFound, PatientClient
from policies.engines.reference_scores import Place, summary
from policies.engines.retries import Backoff
from policies.engines.served_references import Missing, served_places
from policies.errors import DataError, EngineError
from policies.records import Ask, Policy, Response

T = TypeVar("T")
_log = logging.getLogger(__name__)
_FINISHES = ("stop", "length")


class OpenAIEngine:
    """Asks a server over HTTP from a private event loop; safe to use from several threads.

    `max_retries` counts repetitions of one ask after 408, 429, 5xx and connection errors; `total_deadline_s`
    bounds one `generate` call, waiting included; `request_timeout_s` bounds one attempt. `sleep` and `client`
    are for tests. The key is kept in the HTTP client's headers alone and appears in no message.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        base_model_name: str,
        concurrency: int = 16,
        max_retries: int = 5,
        total_deadline_s: float = 3600.0,
        request_timeout_s: float = 120.0,
        client: httpx.AsyncClient | None = None,
        *,
        base_digest: str | None = None,
        admin: bool = True,
        backoff: Backoff | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._base_model_name, self._configured_digest = base_model_name, base_digest
        self._concurrency, self._total_deadline_s, self._admin = max(1, concurrency), total_deadline_s, admin
        self._client = PatientClient(
            base_url,
            api_key,
            max_connections=self._concurrency + 2,
            max_retries=max_retries,
            request_timeout_s=request_timeout_s,
            client=client,
            backoff=backoff or Backoff(),
            sleep=sleep,
        )
        self._where = self._client.where
        self._loading = threading.Lock()
        self._base_places: dict[str, list[Place]] = {}  # by the digest of the references
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="primum-openai", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"OpenAIEngine({self._where}, {self._base_model_name})"

    @property
    def base_digest(self) -> str:
        """As configured; else what our own server tells; else the digest of the served name and root."""
        if self._configured_digest is None:
            card = self._cards().get(self._base_model_name)
            if card is None:
                raise EngineError(f"{self._where} serves no model {self._base_model_name!r}; mend its name")
            told = card.get("base_digest")
            self._configured_digest = str(told) if told else digest_of([card["id"], card.get("root")])
        return self._configured_digest

    def generate(self, policy: Policy, asks: Sequence[Ask]) -> Iterator[Response]:
        """Yield responses as they come, in any order; then raise EngineError if some asks got none."""
        if not asks:
            return
        model = self._model_name(policy)
        done: queue.SimpleQueue[Response | EngineError | None] = queue.SimpleQueue()
        run = asyncio.run_coroutine_threadsafe(self._answer_all(model, policy, asks, done), self._loop)
        failures: list[EngineError] = []
        try:
            while (item := done.get()) is not None:
                if isinstance(item, EngineError):
                    failures.append(item)
                else:
                    yield item
            run.result()
        finally:
            run.cancel()  # the caller may have stopped listening
        if failures:
            raise EngineError(
                f"{self._where} left {len(failures)} of {len(asks)} asks unanswered ({failures[0]}); "
                "run again: what was answered is kept"
            ) from failures[0]

    def close(self) -> None:
        """Close the connections and end the private loop. Safe to call twice."""
        if self._loop.is_closed():
            return
        self._wait(self._client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _answer_all(
        self,
        model: str,
        policy: Policy,
        asks: Sequence[Ask],
        done: queue.SimpleQueue[Response | EngineError | None],
    ) -> None:
        waiting = iter(asks)
        finished = 0
        reason = f"the total deadline of {self._total_deadline_s:g} s passed"
        stopped = False
        until = self._loop.time() + self._total_deadline_s

        async def work() -> None:
            nonlocal finished, reason, stopped
            for ask in waiting:
                try:
                    item: Response | EngineError = await self._answer(model, policy, ask, until)
                except EngineError as error:
                    item = error
                finished += 1
                done.put(item)
                if isinstance(item, Hopeless):
                    reason, stopped = str(item), True
                if stopped:
                    return

        try:
            async with asyncio.timeout_at(until), asyncio.TaskGroup() as group:
                for _ in range(min(self._concurrency, len(asks))):
                    group.create_task(work())
        except TimeoutError:
            pass  # counted below: what is unfinished is an error of its own for every ask
        finally:
            for _ in range(len(asks) - finished):
                done.put(EngineError(reason))
            done.put(None)

    async def _answer(self, model: str, policy: Policy, ask: Ask, until: float) -> Response:
        body: dict[str, Any] = {
            "model": model,
            "messages": ask.messages(),
            "max_tokens": ask.sampling.max_new_tokens,
            "temperature": ask.sampling.temperature,
            "seed": ask.seed,
        }
        if ask.sampling.temperature > 0:
            body["top_k"] = ask.sampling.top_k
        key = ask.key(policy.digest)
        text, finish, tokens = await self._ask_policy(
            policy, "/chat/completions", wire.read_answer, key=key, body=body, until=until
        )
        if finish not in _FINISHES:
            raise EngineError(f"prompt {short(ask.prompt.digest)}: unknown finish reason")
        return Response(
            key=key,
            policy_digest=policy.digest,
            prompt_digest=ask.prompt.digest,
            sampling_digest=ask.sampling.digest,
            context_name=ask.sampling.context.name,
            seed=ask.seed,
            text=text,
            finish_reason=finish,
            tokens=tokens,
        )

    def fidelity(self, policy: Policy, references: Sequence[tuple[str, str]]) -> tuple[float, float] | None:
        """(perplexity, mean KL(policy ‖ base) in nats a token) over the answers of (prompt, answer) pairs.

        None, with a warning that names what is missing, where the server does not tell the log-probabilities
        of given tokens. The divergence is a lower bound: see `reference_scores`. EngineError as `generate`.
        """
        base, key = Policy(self.base_digest), digest_of([list(pair) for pair in references])
        try:
            if key not in self._base_places:
                self._base_places[key] = self._places(base, references)
            theirs = self._base_places[key]
            mine = theirs if policy.adapter_name is None else self._places(policy, references)
        except Missing as missing:
            _log.warning("%s: perplexity and divergence stay unmeasured: %s", self._where, missing)
            return None
        return summary(mine, theirs) if mine else None

    def _places(self, policy: Policy, references: Sequence[tuple[str, str]]) -> list[Place]:
        model = self._model_name(policy)

        async def ask(path: str, read: Callable[[httpx.Response], T], **request: Any) -> T:
            return await self._ask_policy(policy, path, read, **request)

        work = served_places(
            ask,
            self._client,
            references,
            model=model,
            base_model=self._base_model_name,
            concurrency=self._concurrency,
            total_deadline_s=self._total_deadline_s,
        )
        return self._wait(work)

    async def _ask_policy(
        self, policy: Policy, path: str, read: Callable[[httpx.Response], T], **request: Any
    ) -> T:
        try:
            return await self._client.request("POST", path, read, **request)
        except NotFound:
            if policy.adapter_name is None or not self._admin:
                raise
            # Loads do not survive a server's restart (vllm#12174).
            await asyncio.to_thread(self._ensure_loaded, policy)
            return await self._client.request("POST", path, read, **request)

    def _model_name(self, policy: Policy) -> str:
        if policy.base_digest != self.base_digest:
            raise EngineError(
                f"policy {short(policy.digest)} is for base {short(policy.base_digest)}, "
                f"but {self._where} serves base {short(self.base_digest)}"
            )
        if policy.adapter_name is None:
            return self._base_model_name
        self._ensure_loaded(policy)
        return policy.adapter_name

    def _ensure_loaded(self, policy: Policy) -> None:
        """Load the policy's adapter where the server has it not; its folder must have the policy's digest."""
        name, folder = str(policy.adapter_name), policy.adapter_path
        with self._loading:
            if name in self._cards():
                return
            if not self._admin or folder is None:
                raise EngineError(f"{self._where} does not serve {name}; load it there, or allow admin calls")
            try:
                check_adapter_folder(folder)
            except DataError as error:
                raise EngineError(str(error)) from error
            if adapter_digest(folder) != policy.adapter_digest:
                raise EngineError(f"adapter folder {folder} has changed since {name} was made; restore it")
            try:
                self._load(name, folder)
            except EngineError as error:
                if name not in self._cards():  # else another process loaded it in the meantime
                    raise EngineError(f"{self._where} could not load {folder}: {error}") from error

    def _load(self, name: str, folder: Path) -> None:
        body = {"lora_name": name, "lora_path": str(folder.resolve())}
        self._wait(self._client.request("POST", "/load_lora_adapter", lambda _: None, key=name, body=body))

    def _cards(self) -> dict[str, dict[str, Any]]:
        """The served models by name, as GET /v1/models shows them."""
        return self._wait(self._client.request("GET", "/models", wire.read_cards, key="models"))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
