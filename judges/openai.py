"""A judge behind any OpenAI-compatible API: concurrent, with bounded retries, deadlines and a hard cost cap.

Verdicts come in order, each as soon as it is made. Whatever goes wrong with one item (server down,
deadline, cap, unreadable reply) leaves that verdict unscored. Reasons name status codes and error kinds
only: a server's own words may repeat the key or the patient's text.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import openai
from pydantic import ValidationError

from judges.ledger import FREE, Budget, Price, read_prices
from judges.loops import LoopThread
from judges.replies import LABEL_SCHEMA, ChatReply, Reading, read_reply
from judges.rubric import Rendered, Rubric
from policies.digests import digest_of
from policies.engines.retries import RETRYABLE, Backoff, retry_after_s
from policies.engines.wire import storable
from policies.errors import ConfigurationError
from policies.records import Prompt, Response, Verdict

DEFAULT_MODEL = "gpt-4o-mini-2024-07-18"
DEFAULT_BASE_URL = "https://api.openai.com/v1"
# A refused key or an unknown model will not get better for the rest of the batch.
_HOPELESS_STATUS = frozenset({401, 403, 404})
_LOOK_AGAIN_S = 0.01
_LONGEST_TRANSCRIPT = 4000  # characters
_OVERHEAD_TOKENS = 256  # chat template, response schema: an upper bound for the estimate before a call


@dataclass
class _Spending:
    """What one verdict has used over all its attempts."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    attempts: int = 0
    started: float = 0.0


@dataclass
class _Batch:
    """What the verdicts of one call of judge() share. Only the batch's own event loop touches it."""

    client: openai.AsyncOpenAI
    slots: asyncio.Semaphore
    deadline: float
    in_flight: int = 0
    hopeless: str | None = None


@dataclass(frozen=True)
class _Attempt:
    """The outcome of one call: a reading, or a reason with whether and how soon to try again."""

    reading: Reading
    transcript: str | None = None
    again: bool = False
    wait_s: float | None = None


@dataclass(frozen=True)
class _Features:
    """What the server understands, until it says otherwise."""

    structured: bool
    logprobs: bool
    limit_name: str = "max_tokens"


class OpenAIJudge:
    """Asks a chat model for one of the three labels.

    Dollars are counted by `prices` (model → Price; by default the shipped table) and never pass `cap_usd`,
    of which `spent_usd` is already gone. `verdict_deadline_s` bounds one verdict with its retries,
    `total_deadline_s` a whole call of `judge`, `attempt_timeout_s` one request. `clock` gives monotonic
    seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        api_key: str,
        rubric: Rubric,
        model: str = DEFAULT_MODEL,
        base_url: str | None = None,
        temperature: float = 0.0,
        structured: bool = True,
        logprobs: bool = True,
        max_tokens: int = 32,
        concurrency: int = 8,
        attempt_timeout_s: float = 30.0,
        verdict_deadline_s: float = 90.0,
        total_deadline_s: float = 3600.0,
        max_retries: int = 4,
        backoff_s: float = 0.5,
        seed: int = 0,
        prices: Mapping[str, Price] | None = None,
        cap_usd: float | None = None,
        spent_usd: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not api_key:
            raise ConfigurationError(
                f"judge {name}: no API key; set the variable or file that the configuration names"
            )
        if concurrency < 1 or max_retries < 0 or max_tokens < 8:
            raise ConfigurationError(
                f"judge {name}: concurrency must be at least 1, max_retries at least 0, max_tokens at least 8"
            )
        price = (read_prices() if prices is None else prices).get(model)
        if price is None and cap_usd is not None:
            raise ConfigurationError(
                f"judge {name}: a cap of {cap_usd} dollars needs a price for model {model};"
                " add it to the price table"
            )
        self._name, self._model, self._rubric = name, model, rubric
        self._base_url = (base_url or DEFAULT_BASE_URL).rstrip("/")
        self._key = api_key
        self._temperature, self._max_tokens = temperature, max_tokens
        self._asked_for = (structured, logprobs)
        self._features = _Features(structured, logprobs)
        self._concurrency, self._max_retries = concurrency, max_retries
        self._attempt_timeout_s, self._verdict_deadline_s = attempt_timeout_s, verdict_deadline_s
        self._total_deadline_s, self._backoff_s, self._seed = total_deadline_s, backoff_s, seed
        self._price = price or FREE
        self._budget = Budget(cap_usd, spent_usd)
        self._clock = clock

    def __repr__(self) -> str:
        return f"OpenAIJudge({self._name!r}, model={self._model!r}, base_url={self._base_url!r})"

    @property
    def name(self) -> str:
        return self._name

    @property
    def budget(self) -> Budget:
        """The cap and what has been spent of it so far."""
        return self._budget

    def count_in(self, spent_usd: float) -> None:
        """Books against the cap what was spent before this object was made, by another process say."""
        self._budget = replace(self._budget, spent_usd=self._budget.spent_usd + spent_usd)

    @property
    def digest(self) -> str:
        """Server, model, rubric and parameters; not key, prices or deadlines, which change no verdict."""
        parameters = [self._temperature, self._seed, self._max_tokens, *self._asked_for]
        return digest_of(["openai", self._base_url, self._model, self._rubric.digest, parameters])

    def close(self) -> None:
        """Nothing stays open between calls of judge()."""

    def judge(self, items: Sequence[tuple[Prompt, Response]]) -> Iterator[Verdict]:
        """Verdicts in order. At most twice `concurrency` items are begun beyond the last one handed out, so
        that
        little that was paid for is lost when the process dies."""
        with LoopThread() as loop:
            batch = loop.submit(self._open()).result()
            begun: deque[Future[Verdict]] = deque()
            try:
                for prompt, response in items:
                    begun.append(loop.submit(self._verdict(batch, prompt, response)))
                    if len(begun) >= 2 * self._concurrency:
                        yield begun.popleft().result()
                while begun:
                    yield begun.popleft().result()
            finally:
                for future in begun:
                    future.cancel()
                loop.submit(batch.client.close()).result()

    async def _open(self) -> _Batch:
        client = openai.AsyncOpenAI(
            api_key=self._key, base_url=self._base_url, max_retries=0, timeout=self._attempt_timeout_s
        )
        return _Batch(client, asyncio.Semaphore(self._concurrency), self._clock() + self._total_deadline_s)

    async def _verdict(self, batch: _Batch, prompt: Prompt, response: Response) -> Verdict:
        rendered = self._rubric.render(prompt, response.text)
        async with batch.slots:
            spending = _Spending(started=self._clock())
            last = await self._attempts(batch, rendered, response, spending)
        return Verdict(
            judge_digest=self.digest,
            prompt_digest=prompt.digest,
            answer_digest=response.answer_digest,
            label=last.reading.label,
            probabilities=last.reading.probabilities,
            unscored_reason=last.reading.reason,
            transcript=last.transcript,
            prompt_tokens=spending.prompt_tokens,
            completion_tokens=spending.completion_tokens,
            cost_usd=spending.cost_usd,
            latency_s=self._clock() - spending.started,
            truncated=rendered.truncated,
        )

    async def _attempts(
        self, batch: _Batch, rendered: Rendered, response: Response, spending: _Spending
    ) -> _Attempt:
        """Calls until a reply came, retries or time are used up, or the cap stands in the way."""
        deadline = min(self._clock() + self._verdict_deadline_s, batch.deadline)
        backoff = Backoff(base_s=self._backoff_s, seed=self._seed)
        last = _unscored("the deadline passed before the judge was asked")
        while (left := deadline - self._clock()) > 0:
            if batch.hopeless:
                return _unscored(batch.hopeless)
            estimate = self._worst_case_usd(rendered)
            if not await self._may_pay(batch, estimate, deadline):
                return _unscored(f"cost cap: another call could pass {self._budget.cap_usd} dollars")
            last = await self._call(batch, rendered, estimate, min(left, self._attempt_timeout_s), spending)
            if not last.again or spending.attempts > self._max_retries:
                break
            wait_s = last.wait_s
            if wait_s is None:
                wait_s = backoff.wait_s(response.answer_digest, spending.attempts - 1)
            if self._clock() + wait_s >= deadline:
                reason = f"{last.reading.reason}; the deadline leaves no time for another attempt"
                return _unscored(reason, last.transcript)
            await asyncio.sleep(wait_s)
        return last

    async def _may_pay(self, batch: _Batch, estimate: float, deadline: float) -> bool:
        """Whether the cap leaves room; calls in flight may yet give back most of what they reserved."""
        while not self._budget.may_spend(estimate):
            if not batch.in_flight or self._clock() >= deadline:
                return False
            await asyncio.sleep(_LOOK_AGAIN_S)
        return True

    async def _call(
        self, batch: _Batch, rendered: Rendered, estimate: float, timeout_s: float, spending: _Spending
    ) -> _Attempt:
        """One request, its cost reserved before and settled after it."""
        spending.attempts += 1
        used = self._features
        self._budget = self._budget.reserve(estimate)
        batch.in_flight += 1
        cost = estimate  # what a request of unknown outcome may have cost
        try:
            async with asyncio.timeout(timeout_s):
                ask = batch.client.chat.completions.with_raw_response.create
                raw = await ask(**self._request(rendered, used))
            reply = ChatReply.model_validate_json(raw.http_response.content)
            cost = self._book(reply, rendered, spending)
            return _Attempt(read_reply(reply), self._transcript(raw.http_response.text))
        except openai.APIStatusError as problem:
            cost = 0.0
            return self._refused(batch, problem, used, spending)
        except (TimeoutError, openai.APITimeoutError):
            return _unscored("the server did not answer in time", again=True)
        except openai.APIConnectionError:
            return _unscored("no connection, or it broke before the reply was whole", again=True)
        except ValidationError:
            return _unscored("the reply is not the JSON of a chat completion", again=True)
        finally:
            batch.in_flight -= 1
            spending.cost_usd += cost
            self._budget = self._budget.settle(estimate, cost)

    def _request(self, rendered: Rendered, features: _Features) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self._model,
            "messages": rendered.messages,
            "temperature": self._temperature,
            "seed": self._seed,
            features.limit_name: self._max_tokens,
        }
        if features.structured:
            request["response_format"] = LABEL_SCHEMA
        if features.logprobs:
            request |= {"logprobs": True, "top_logprobs": 5}
        return request

    def _refused(
        self, batch: _Batch, problem: openai.APIStatusError, used: _Features, spending: _Spending
    ) -> _Attempt:
        """What an error status asks for: patience, a plainer request, or giving up."""
        status = problem.status_code
        transcript = self._transcript(problem.response.text)
        if status in (400, 422) and self._drop_feature(problem.response.text, used):
            spending.attempts -= 1  # another question, not another attempt at the same one
            return _unscored(f"HTTP {status}", transcript, again=True, wait_s=0.0)
        if status in RETRYABLE or status >= 500:
            wait_s = retry_after_s(problem.response.headers, time.time())
            return _unscored(f"HTTP {status}", transcript, again=True, wait_s=wait_s)
        if status in _HOPELESS_STATUS:
            batch.hopeless = f"HTTP {status}: the server turns this key, model or address away"
            return _unscored(batch.hopeless, transcript)
        return _unscored(f"HTTP {status}", transcript)

    def _drop_feature(self, message: str, used: _Features) -> bool:
        """Gives up the feature that the server names as the trouble, for the rest of this judge's life.

        What counts is what the failed request `used`: another one in flight may have given it up already.
        """
        if used.structured and any(name in message for name in ("response_format", "json_schema")):
            self._features = replace(self._features, structured=False)
        elif used.logprobs and "logprobs" in message:
            self._features = replace(self._features, logprobs=False)
        elif used.limit_name == "max_tokens" and "max_completion_tokens" in message:
            self._features = replace(self._features, limit_name="max_completion_tokens")
        else:
            return False
        return True

    def _worst_case_usd(self, rendered: Rendered) -> float:
        """No call costs more: a token is at least one byte of UTF-8, and the reply stops at the token
        limit."""
        sent = len((rendered.system + rendered.user).encode("utf-8", "replace")) + _OVERHEAD_TOKENS
        return self._price.cost_usd(sent, self._max_tokens)

    def _book(self, reply: ChatReply, rendered: Rendered, spending: _Spending) -> float:
        """Adds the reply's usage. A server that reports none is booked at the worst case."""
        if reply.usage is None:
            return self._worst_case_usd(rendered)
        spending.prompt_tokens += reply.usage.prompt_tokens
        spending.completion_tokens += reply.usage.completion_tokens
        return self._price.cost_usd(reply.usage.prompt_tokens, reply.usage.completion_tokens)

    def _transcript(self, text: str) -> str:
        """What may be kept of a reply: without the key, fit for UTF-8, of bounded length."""
        return storable(text.replace(self._key, "[key]"))[:_LONGEST_TRANSCRIPT]


def _unscored(
    reason: str, transcript: str | None = None, *, again: bool = False, wait_s: float | None = None
) -> _Attempt:
    return _Attempt(Reading(None, reason), transcript, again, wait_s)
