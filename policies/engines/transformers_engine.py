"""The policy in this process, by transformers: batched, sorted by length, sampling seeded per answer."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import DynamicCache, LogitsProcessor, LogitsProcessorList

from policies.digests import short
from policies.engines.adapters import adapter_digest
from policies.engines.answering_layers import write_out_answering
from policies.engines.decoding import (
    cache_for,
    cache_of,
    decode,
    decodes_plainly,
    end_tokens,
    laid_out,
    largest,
    likeliest,
)
from policies.engines.fidelity import BaseStates, fidelity
from policies.engines.lanes import Lanes
from policies.engines.models import bare_model, load_base, model_digest, pick_device, with_adapter
from policies.engines.packed_weights import pack_weights
from policies.engines.shared_head import attend_to_heads
from policies.errors import DataError, EngineError
from policies.records import Ask, Policy, Response, Sampling

Message = Mapping[str, str]
_LEAST_ROWS = 32  # of a lane: a token's step over fewer is spent on reading the weights
_MOST_SEEN = 1 << 26  # places of a batch's attention mask, 256 MiB of it: long conversations share no batch


@dataclass(frozen=True)
class Completion:
    """One answer of the model. `finish_reason` is `stop` or `length`; counts are tokens."""

    text: str
    finish_reason: str
    prompt_tokens: int
    tokens: int


class SeededSampler(LogitsProcessor):
    """Top-k sampling by the Gumbel-max trick with one generator a row.

    A row's draw depends on its own seed alone, not on its neighbours in the batch, so an answer sampled after
    a restart in another batch is the answer that would have been sampled before it.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, top_k: int) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._temperature, self._top_k = temperature, top_k

    def choose(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) → a token id of each row."""
        values, indices = largest(logits, min(self._top_k, logits.shape[-1]))
        uniform = torch.stack([torch.rand(values.shape[-1], generator=one) for one in self._generators])
        exponential = (-torch.log(uniform.clamp_min(1e-20))).clamp_min(1e-20)
        gumbel = -torch.log(exponential).to(values.device)
        best = (values / self._temperature + gumbel).argmax(-1, keepdim=True)
        return indices.gather(-1, best)[:, 0]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """For transformers' `generate`, whose greedy choice follows: it takes no other token."""
        return scores.scatter(-1, self.choose(scores)[:, None], float("inf"))


class TransformersEngine:
    """One base model and any number of its LoRA adapters, in this process.

    `batch_size` is the number of conversations generated side by side, in all lanes together
    (policies.engines.lanes). The base's weights are shared by all adapters; `keep` of them stay ready. With
    `share_heads` what all conversations begin with is attended to once, on a CPU and by plain decoders
    (policies.engines.shared_head).
    """

    def __init__(
        self,
        *,
        model_path: Path,
        threads: int | None = None,
        dtype: str = "auto",
        batch_size: int = 128,
        keep: int = 2,
        share_heads: bool = False,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._path, self._batch_size, self._keep = model_path, batch_size, keep
        self._device = pick_device()
        self._model, self._tokenizer = load_base(model_path, dtype=dtype, device=self._device)
        self._attends_to_heads = share_heads and attend_to_heads(self._model)
        self._model.requires_grad_(False)
        write_out_answering(self._model, packed=True)
        pack_weights(self._model)
        self.lanes = Lanes()
        self._adapters: dict[str, Path] = {}
        self._adapted: OrderedDict[str, Any] = OrderedDict()
        self.base_states = BaseStates()

    @cached_property
    def base_digest(self) -> str:
        return model_digest(self._path)

    @property
    def adapters(self) -> set[str]:
        """Names of the adapters that are loaded."""
        return set(self._adapters)

    def load_adapter(self, name: str, path: Path) -> None:
        """Make the adapter in folder `path` answer as `name`. EngineError where it does not fit the base."""
        if name in self._adapters:
            return
        if not (path / "adapter_model.safetensors").is_file():
            raise EngineError(f"adapter folder {path} holds no adapter_model.safetensors")
        self._adapt(name, path)
        self._adapters[name] = path

    def unload_adapter(self, name: str) -> None:
        self._adapters.pop(name, None)
        self._adapted.pop(name, None)

    def _adapt(self, name: str, path: Path) -> Any:
        try:
            # PEFT rewires the model that it is given. A copy that shares the tensors costs nothing and leaves
            # the base as it is.
            shared: dict[int, Any] = {id(tensor): tensor for tensor in self._model.parameters()}
            shared |= {id(tensor): tensor for tensor in self._model.buffers()}
            adapted = with_adapter(copy.deepcopy(self._model, shared), path)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise EngineError(f"adapter {name} does not fit the base model: {error}") from error
        self._adapted[name] = adapted
        while len(self._adapted) > self._keep:
            self._adapted.popitem(last=False)
        return adapted

    def model_for(self, policy: Policy) -> Any:
        """The model that answers as `policy`, its adapter loaded from the policy's folder if need be.

        EngineError where the policy is of another base model, or its folder holds another adapter.
        """
        if policy.base_digest != self.base_digest:
            raise EngineError(
                f"policy {short(policy.digest)} is of base model {short(policy.base_digest)}, and this is "
                f"{short(self.base_digest)}"
            )
        name = policy.adapter_name
        if name is None:
            return self._model
        if name not in self._adapters:
            if policy.adapter_path is None:
                raise EngineError(f"adapter {name} is not loaded and its folder is not known")
            self.load_adapter(name, policy.adapter_path)
            if adapter_digest(policy.adapter_path) != policy.adapter_digest:
                self.unload_adapter(name)
                raise EngineError(
                    f"adapter folder {policy.adapter_path} was changed; restore it from a backup"
                )
        if name not in self._adapted:
            self._adapt(name, self._adapters[name])
        self._adapted.move_to_end(name)
        return self._adapted[name]

    def generate(self, policy: Policy, asks: Sequence[Ask]) -> Iterator[Response]:
        groups: dict[Sampling, list[Ask]] = {}
        for ask in asks:
            groups.setdefault(ask.sampling, []).append(ask)
        for sampling, group in groups.items():
            prefix = [{"role": role, "content": content} for role, content in sampling.context.messages]
            completions = self.complete(
                policy,
                [[{"role": "user", "content": ask.prompt.text}] for ask in group],
                max_new_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                top_k=sampling.top_k,
                seeds=[ask.seed for ask in group],
                prefix=prefix,
            )
            for index, done in completions:
                ask = group[index]
                yield Response(
                    key=ask.key(policy.digest),
                    policy_digest=policy.digest,
                    prompt_digest=ask.prompt.digest,
                    sampling_digest=sampling.digest,
                    context_name=sampling.context.name,
                    seed=ask.seed,
                    text=done.text,
                    finish_reason=done.finish_reason,
                    tokens=done.tokens,
                )

    def complete(
        self,
        policy: Policy,
        conversations: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int,
        temperature: float,
        top_k: int,
        seeds: Sequence[int],
        prefix: Sequence[Message] = (),
    ) -> Iterator[tuple[int, Completion]]:
        """Yield (index into `conversations`, completion), shortest conversations first.

        Messages in `prefix` come before every conversation. What the chat template puts before the first
        word of each is computed once, the prefix and the template's own system message included.
        """
        model = self.model_for(policy)
        whole = [self._ids([*prefix, *messages], True) for messages in conversations]
        head = self._opening(prefix)
        if not all(row[: len(head)] == head for row in whole):  # a conversation with a system message
            head = []
        with torch.inference_mode():
            head_cache = cache_of(model, head, self._device)
        if head_cache is None:
            head = []
        rows = [row[len(head) :] for row in whole]
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))

        def answered(batch: Sequence[int]) -> list[list[int]]:
            width = len(rows[batch[-1]])
            if len(batch) > 1 and len(batch) * width * (len(head) + width) > _MOST_SEEN:
                half = len(batch) // 2
                return [*answered(batch[:half]), *answered(batch[half:])]
            sampler = (
                SeededSampler([seeds[index] for index in batch], temperature, top_k)
                if temperature > 0
                else None
            )
            return self._batch(
                model, [rows[index] for index in batch], head, head_cache, max_new_tokens, sampler
            )

        told = self.lanes.map_batches(answered, order, batch_size=self._batch_size, least=_LEAST_ROWS)
        for batch, outputs in told:
            for index, tokens in zip(batch, outputs, strict=True):
                yield index, self._completion(tokens, len(head) + len(rows[index]), max_new_tokens)

    def check(self, messages: Sequence[Message], *, max_new_tokens: int) -> None:
        """DataError where the model's chat template refuses `messages`, or where they and an answer of so
        many tokens are more than the model has places for."""
        try:
            asked = len(self._ids(messages, True))
        except TemplateError as error:
            raise DataError(f"the model's chat template refuses these messages: {error}") from error
        places = getattr(self._model.config, "max_position_embeddings", None)
        if places and asked + max_new_tokens > places:
            raise DataError(
                f"these messages take {asked} tokens and the answer up to {max_new_tokens}, and the model "
                f"has {places} places: shorten them, or ask for fewer tokens"
            )

    def _opening(self, prefix: Sequence[Message]) -> list[int]:
        """Ids that every conversation after `prefix` begins with: what two questions have in common."""
        one, other = (self._ids([*prefix, {"role": "user", "content": word}], True) for word in ("a", "z"))
        same = (mine == theirs for mine, theirs in zip(one, other, strict=False))
        return one[: next((at for at, alike in enumerate(same) if not alike), 0)]

    def _ids(self, messages: Sequence[Message], prompt: bool) -> list[int]:
        encoded = self._tokenizer.apply_chat_template(
            [dict(message) for message in messages], add_generation_prompt=prompt, return_dict=True
        )
        return list(encoded["input_ids"])

    def encode_answers(
        self, pairs: Sequence[tuple[str, str]]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(ids, attention mask, which tokens are the answer's), each (rows, width), padded on the right."""
        rows = []
        for question, answer in pairs:
            asked = self._ids([{"role": "user", "content": question}], True)
            told = self._tokenizer(answer, add_special_tokens=False)["input_ids"]
            rows.append((asked, told))
        width = max(len(asked) + len(told) for asked, told in rows)
        ids = torch.full((len(rows), width), self._tokenizer.pad_token_id)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        answer_mask = torch.zeros(len(rows), width, dtype=torch.bool)
        for place, (asked, told) in enumerate(rows):
            end = len(asked) + len(told)
            ids[place, :end] = torch.tensor([*asked, *told])
            mask[place, :end] = 1
            answer_mask[place, len(asked) : end] = True
        return ids.to(self._device), mask.to(self._device), answer_mask.to(self._device)

    @torch.inference_mode()
    def _batch(
        self,
        model: Any,
        rows: Sequence[Sequence[int]],
        head: Sequence[int],
        head_cache: DynamicCache | None,
        max_new_tokens: int,
        sampler: SeededSampler | None,
    ) -> list[list[int]]:
        pad = self._tokenizer.pad_token_id
        ids, mask = laid_out(rows, head, pad, self._device)
        room = ids.shape[1] - len(head) + max_new_tokens
        cache = cache_for(head_cache, len(rows), room=room, shares=self._attends_to_heads)
        # PEFT's own `generate` swaps a method of the base model while it runs, and lanes run side by side.
        bare = bare_model(model)
        if decodes_plainly(bare):
            choose = sampler.choose if sampler else likeliest
            ends = end_tokens(bare, self._tokenizer)
            told = decode(bare, ids, mask, cache, limit=max_new_tokens, choose=choose, ends=ends, pad=pad)
            return told.tolist()
        output = bare.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=pad,
            logits_processor=LogitsProcessorList([sampler] if sampler else []),
        )
        return output[:, ids.shape[1] :].tolist()

    def _completion(self, tokens: list[int], prompt_tokens: int, limit: int) -> Completion:
        ends = end_tokens(self._model, self._tokenizer)
        stop = next((place for place, token in enumerate(tokens) if token in ends), None)
        kept = tokens if stop is None else tokens[:stop]
        return Completion(
            text=self._tokenizer.decode(kept, skip_special_tokens=True).strip(),
            finish_reason="length" if stop is None and len(tokens) >= limit else "stop",
            prompt_tokens=prompt_tokens,
            tokens=len(kept),
        )

    def fidelity(self, policy: Policy, references: Sequence[tuple[str, str]]) -> tuple[float, float] | None:
        return fidelity(self, policy, references) if references else None

    def close(self) -> None:
        self.lanes.close()
        self._adapted.clear()
        self._adapters.clear()
