"""A causal language model as a judge: one forward pass, the label read off three constrained logits.

Serves `self` (the deployed policy's adapter), LMA (no adapter) and EXT (a fine-tuned adapter) alike.
There is no free text to parse. The rubric's keys and values are computed once and shared by all items.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from judges.refusal import is_non_answer
from judges.rubric import Rubric
from policies.cares import LABELS, Label
from policies.digests import digest_of
from policies.engines.adapters import CARD_FILE, adapter_digest
from policies.engines.answering_layers import for_last_tokens
from policies.engines.decoding import cache_of
from policies.engines.lanes import Lanes
from policies.engines.models import (
    PLAIN_DECODERS,
    bare_model,
    keep_layers,
    load_base,
    model_digest,
    pick_device,
    with_adapter,
)
from policies.errors import JudgeError
from policies.records import Prompt, Response, Verdict

_LEAST_ITEMS = 8  # of a lane


class LabelHead:
    """How a rubric's question becomes tokens, and which three tokens are the labels."""

    def __init__(self, tokenizer: Any, rubric: Rubric) -> None:
        self.tokenizer, self.rubric = tokenizer, rubric
        firsts = [tokenizer(str(label), add_special_tokens=False)["input_ids"][0] for label in LABELS]
        if len(set(firsts)) != len(LABELS):
            raise JudgeError(
                "the labels do not begin with three different tokens of this model; use another base model"
            )
        self.label_ids: list[int] = firsts

    def encode(self, prompt: Prompt, answer: str) -> tuple[list[int], bool]:
        """(token ids of the whole question, was its text truncated?)."""
        rendered = self.rubric.render(prompt, answer)
        ids = self.tokenizer.apply_chat_template(
            rendered.messages, add_generation_prompt=True, return_dict=True
        )["input_ids"]
        return list(ids), rendered.truncated

    @cached_property
    def shared(self) -> list[int]:
        """Token ids that every question of this rubric opens with."""
        asked = zip(("a", "Why? 1", "“é", "zzz"), (0, 1, 3, 2), (None, 0, 7, 3), strict=True)
        ends = [self.encode(Prompt(text, level, text, part), text)[0] for text, level, part in asked]
        count = 0
        while all(len(ids) > count for ids in ends) and len({ids[count] for ids in ends}) == 1:
            count += 1
        return ends[0][:count]


class LocalJudge:
    """Any causal LM, with or without a LoRA adapter, answering with one of three labels.

    `share_prefix=False` computes the rubric's prefix for every item again: only for measuring what sharing is
    worth. Texts without a word are Caution by the rubric's definition and are not asked about.

    `label_bias` is added to the labels' logits (nats): a judge that is known to lean is set upright by it. It
    is part of the digest, since another bias is another judge. So is `layers`: only so many of the base's
    lowest layers are computed (None: all), and the label is read above them, by an adapter trained so.
    """

    def __init__(
        self,
        *,
        name: str,
        model_path: Path,
        rubric: Rubric,
        adapter_path: Path | None = None,
        dtype: str = "auto",
        threads: int | None = None,
        batch_size: int = 32,
        share_prefix: bool = True,
        label_bias: Mapping[Label, float] | None = None,
        layers: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._path, self._adapter_path = name, model_path, adapter_path
        self._rubric, self._dtype, self._threads = rubric, dtype, threads
        self._batch_size, self._share, self._clock = batch_size, share_prefix, clock
        self._prefix: Any | None = None
        self._prefix_known = False
        self._layers = layers
        self._bias = [float((label_bias or {}).get(label, 0.0)) for label in LABELS]

    @cached_property
    def _loaded(self) -> tuple[Any, LabelHead]:
        """Model and head, loaded at the first question: a judge that is not asked costs no memory."""
        if self._threads:
            torch.set_num_threads(self._threads)
        model, tokenizer = load_base(self._path, dtype=self._dtype, device=pick_device())
        if self._layers is not None:
            keep_layers(model, self._layers)
        if self._adapter_path is not None:
            _check_depth(self._adapter_path, self._layers)
            model = _with_adapter(model, self._adapter_path)
        return model, LabelHead(tokenizer, self._rubric)

    @cached_property
    def lanes(self) -> Lanes:
        """How many batches are judged side by side."""
        return Lanes()

    @property
    def head(self) -> LabelHead:
        return self._loaded[1]

    @property
    def name(self) -> str:
        return self._name

    @property
    def on_gpu(self) -> bool:
        """Whether its verdicts' latencies are seconds of a GPU; the ledger counts those."""
        return pick_device() == "cuda"

    @cached_property
    def digest(self) -> str:
        adapter = adapter_digest(self._adapter_path) if self._adapter_path else None
        depth = [] if self._layers is None else [self._layers]
        return digest_of(
            ["local", model_digest(self._path), adapter, self._rubric.digest, self._bias, *depth]
        )

    def judge(self, items: Sequence[tuple[Prompt, Response]]) -> Iterator[Verdict]:
        """Verdicts in the items' order, yielded a window of batches at a time.

        Within a window items are sorted by length, since padding costs as much as text.
        """
        window = self._batch_size * 8
        for start in range(0, len(items), window):
            yield from self._window(items[start : start + window])

    def _window(self, items: Sequence[tuple[Prompt, Response]]) -> list[Verdict]:
        verdicts: list[Verdict | None] = [None] * len(items)
        encoded: dict[int, tuple[list[int], bool]] = {}
        for index, (prompt, response) in enumerate(items):
            if is_non_answer(response.text):
                verdicts[index] = self._verdict(prompt, response, (0.0, 1.0, 0.0), 0, 0.0, False)
            else:
                encoded[index] = self.head.encode(prompt, response.text)
        order = sorted(encoded, key=lambda index: len(encoded[index][0]))

        def judged(batch: Sequence[int]) -> tuple[list[list[float]], float]:
            began = self._clock()
            rows = self.label_probabilities([encoded[index][0] for index in batch])
            return rows, (self._clock() - began) / len(batch)

        if order:
            self._compute_prefix()
        told = self.lanes.map_batches(judged, order, batch_size=self._batch_size, least=_LEAST_ITEMS)
        for batch, (rows, each) in told:
            for index, row in zip(batch, rows, strict=True):
                ids, truncated = encoded[index]
                prompt, response = items[index]
                verdicts[index] = self._verdict(prompt, response, row, len(ids), each, truncated)
        return [verdict for verdict in verdicts if verdict is not None]

    def _verdict(
        self,
        prompt: Prompt,
        response: Response,
        row: Sequence[float],
        tokens: int,
        seconds: float,
        truncated: bool,
    ) -> Verdict:
        label: Label | None = LABELS[max(range(len(LABELS)), key=row.__getitem__)]
        broken = any(value != value for value in row)
        return Verdict(
            judge_digest=self.digest,
            prompt_digest=prompt.digest,
            answer_digest=response.answer_digest,
            label=None if broken else label,
            probabilities=None if broken else dict(zip(map(str, LABELS), row, strict=True)),
            unscored_reason="the judge's logits are not numbers" if broken else None,
            prompt_tokens=tokens,
            completion_tokens=1 if tokens else 0,
            latency_s=seconds,
            truncated=truncated,
        )

    @torch.inference_mode()
    def label_probabilities(self, questions: Sequence[Sequence[int]]) -> list[list[float]]:
        """Probabilities of Accept, Caution, Refuse for each question's token ids; rows sum to 1."""
        self._compute_prefix()
        shared = self.head.shared if self._share else []
        logits = label_logits(self._loaded[0], self.head, questions, shared, self._prefix if shared else None)
        probabilities: list[list[float]] = (logits + logits.new_tensor(self._bias)).softmax(-1).tolist()
        return probabilities

    @torch.inference_mode()
    def _compute_prefix(self) -> None:
        if self._share and not self._prefix_known:
            model = self._loaded[0]
            self._prefix, self._prefix_known = cache_of(model, self.head.shared, model.device), True

    def close(self) -> None:
        """Let go of the model; the next question loads it again."""
        self._prefix, self._prefix_known = None, False
        if "lanes" in self.__dict__:
            self.lanes.close()
        self.__dict__.pop("_loaded", None)


def label_logits(
    model: Any, head: LabelHead, questions: Sequence[Sequence[int]], shared: Sequence[int], prefix: Any | None
) -> torch.Tensor:
    """Logits (batch, 3) of the label tokens after each question; `prefix` is the cache of `shared`, or None.

    A tokenizer may merge across the border of the shared part; such a batch is asked without it.
    """
    if prefix is None or any(list(ids[: len(shared)]) != list(shared) for ids in questions):
        shared, prefix = [], None
    rows = [list(ids[len(shared) :]) for ids in questions]
    width, pad = max(map(len, rows)), head.tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=model.device)
    mask = torch.tensor(
        [[1] * len(shared) + [0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device
    )
    cache = None
    if prefix is not None:
        cache = DynamicCache(
            [
                (layer.keys.repeat_interleave(len(rows), 0), layer.values.repeat_interleave(len(rows), 0))
                for layer in prefix.layers
            ]
        )
    given = {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp_min(0)[:, len(shared) :],
        "past_key_values": cache,
        "use_cache": cache is not None,
    }
    bare = bare_model(model)
    # An adapter may hold something of the projection, too; then it is asked, not read.
    if bare.config.model_type in PLAIN_DECODERS and type(bare.lm_head) is torch.nn.Linear:
        decoder = bare.base_model
        last = decoder(**given, **for_last_tokens(decoder)).last_hidden_state[:, -1]
        return (last @ bare.lm_head.weight[head.label_ids].t()).float()
    # Not 1: a slice of the batch would be multiplied as a batch of matrices, the vocabulary's 28 million
    # weights copied for each row, which took 30 % of a batch's time.
    output = model(**given, logits_to_keep=torch.tensor([-1], device=model.device))
    return output.logits[:, -1, head.label_ids].float()


def _check_depth(folder: Path, layers: int | None) -> None:
    """JudgeError where the adapter's card says that it was trained on another number of layers."""
    card = folder / CARD_FILE
    trained = (
        json.loads(card.read_text(encoding="utf-8")).get("recipe", {}).get("layers")
        if card.is_file()
        else layers
    )
    if trained != layers:
        told = "all layers" if trained is None else f"the lowest {trained} layers"
        mend = "leave layers out" if trained is None else f"set layers to {trained}"
        raise JudgeError(f"judge adapter {folder} was trained on {told} of its base; {mend}")


def _with_adapter(model: Any, folder: Path) -> Any:
    try:
        return with_adapter(model, folder)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise JudgeError(f"judge adapter {folder} does not fit its base model: {error}") from error
