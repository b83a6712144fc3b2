from __future__ import annotations

from pathlib import Path

import pytest

from daemon.release.artifacts import adapter_folder, store_adapter, verify_adapter
from policies.errors import DataError
from policies.records import Policy
from tests.fakes.vllm_server import WEIGHTS, write_adapter


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "candidate", "weights")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_stored_adapter_is_named_by_content_and_read_only(source: Path, tmp_path: Path) -> None:
    (source / "optimizer.pt").write_bytes(b"\x80")
    (source / "trainer_state.json").write_text("{}")
    digest, path = store_adapter(source, tmp_path / "adapters")
    assert path == tmp_path / "adapters" / str(Policy("b", digest).adapter_name)
    assert path == adapter_folder(tmp_path / "adapters", digest)
    assert names_in(path) == ["adapter_config.json", WEIGHTS, "card.json"]
    assert path.stat().st_mode & 0o777 == 0o555
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o444}
    verify_adapter(path, digest)


def test_storing_twice_finds_the_first_copy_and_leaves_no_staging(source: Path, tmp_path: Path) -> None:
    first = store_adapter(source, tmp_path / "adapters")
    inode = first[1].stat().st_ino
    assert store_adapter(source, tmp_path / "adapters") == first
    assert first[1].stat().st_ino == inode
    assert names_in(tmp_path / "adapters") == [first[1].name]


def test_stored_copy_does_not_follow_its_source(source: Path, tmp_path: Path) -> None:
    digest, path = store_adapter(source, tmp_path / "adapters")
    (source / "adapter_config.json").write_text('{"changed": true}')
    verify_adapter(path, digest)
    assert store_adapter(source, tmp_path / "adapters")[0] != digest


def test_card_is_optional_and_not_part_of_the_identity(source: Path, tmp_path: Path) -> None:
    with_card, _ = store_adapter(source, tmp_path / "one")
    (source / "card.json").unlink()
    without, path = store_adapter(source, tmp_path / "two")
    assert without == with_card
    assert not (path / "card.json").exists()


@pytest.mark.parametrize("name", [WEIGHTS, "adapter_config.json"])
def test_missing_file_is_named(source: Path, tmp_path: Path, name: str) -> None:
    (source / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        store_adapter(source, tmp_path / "adapters")
    assert names_in(tmp_path / "adapters") == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (WEIGHTS, b"\x80\x04pickle"),
        (WEIGHTS, b""),
        (WEIGHTS, b"\xff" * 64),
        ("adapter_config.json", b"[1]"),
        ("adapter_config.json", b"\xff"),
    ],
)
def test_file_that_is_not_what_its_name_says_is_refused(
    source: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    (source / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name} is not what its name says"):
        store_adapter(source, tmp_path / "adapters")


def test_link_is_not_followed(source: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text('{"password": 1}')
    (source / "adapter_config.json").unlink()
    (source / "adapter_config.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(DataError, match="cannot be copied"):
        store_adapter(source, tmp_path / "adapters")


def test_changed_adapter_fails_verification(source: Path, tmp_path: Path) -> None:
    digest, path = store_adapter(source, tmp_path / "adapters")
    weights = path / WEIGHTS
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes() + b"x")
    with pytest.raises(DataError, match="was changed"):
        verify_adapter(path, digest)


def test_added_pickle_fails_verification(source: Path, tmp_path: Path) -> None:
    digest, path = store_adapter(source, tmp_path / "adapters")
    path.chmod(0o755)
    (path / "adapter_model.bin").write_bytes(b"\x80")
    with pytest.raises(DataError, match=r"adapter_model\.bin does not belong"):
        verify_adapter(path, digest)


def test_missing_folder_fails_verification(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is missing"):
        verify_adapter(tmp_path / "gone", "a" * 64)
