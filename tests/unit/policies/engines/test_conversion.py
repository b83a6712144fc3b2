"""The embedded model is converted once, from a file parsed once, and the library is left as it was."""

from __future__ import annotations

import fcntl
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path

import gguf
import pytest

from policies.engines.models import EMBEDDED, _gguf_parsed_once, embedded_gguf, resolve_model


def test_file_is_parsed_once_while_it_is_converted_and_anew_afterwards() -> None:
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    source = embedded_gguf()
    if source is None:
        pytest.skip("the embedded model is not installed")
    reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
    with _gguf_parsed_once():
        for _ in range(2):
            assert load_gguf_checkpoint(str(source))["config"]["model_type"] == "llama"
        assert gguf.GGUFReader.cache_info()[:2] == (1, 1)  # the library takes it from where it is put
        arch = gguf.MODEL_ARCH.LLAMA
        assert gguf.get_tensor_name_map(arch, 2) is gguf.get_tensor_name_map(arch, 2)
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == (reader, names)


def test_library_is_as_it_was_after_an_error_too(tmp_path: Path) -> None:
    reader = gguf.GGUFReader
    with pytest.raises(FileNotFoundError), _gguf_parsed_once():
        gguf.GGUFReader(str(tmp_path / "none.gguf"))
    assert gguf.GGUFReader is reader


def test_who_finds_another_converting_waits_and_takes_what_it_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_given: object) -> None:
        raise AssertionError("converted a second time")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fail)
    with (tmp_path / ".converting.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(resolve_model, EMBEDDED, cache_dir=tmp_path)
            with pytest.raises(FutureTimeout):
                waiting.result(timeout=0.2)
            folder = tmp_path / "smollm2-135m"
            folder.mkdir()
            (folder / "model.safetensors").touch()
            fcntl.flock(other, fcntl.LOCK_UN)
            assert waiting.result(timeout=60) == folder
