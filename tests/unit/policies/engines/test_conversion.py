"""The embedded model's conversion parses its file once, and leaves the library as it was."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from policies.engines.models import _gguf_parsed_once, embedded_gguf


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
