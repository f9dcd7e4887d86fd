"""What identifies gigabytes of weights is read off them once, and again as soon as anything about the file changed."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import InpaintSettings
from pipeline.models import digests
from pipeline.models.digests import file_digest
from pipeline.models.inpainting import declared_settings
from pipeline.models.weights import EMBEDDED, content_identity


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let every file be large, and what is noted of it lie in an empty folder."""
    monkeypatch.setattr(digests, "LEAST_BYTES", 0)
    monkeypatch.setattr(digests, "SETTLED", -1.0)
    monkeypatch.setenv("STPA_SCRATCH", str(tmp_path / "scratch"))
    new_process(monkeypatch)
    return tmp_path / "scratch" / "digests"


def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_known", {})


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what was read whole from now on."""
    read: list[str] = []
    original = hashlib.file_digest

    def counted(stream: object, name: str) -> object:
        read.append(Path(stream.name).name)  # type: ignore[attr-defined]
        return original(stream, name)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return read


def weights(tmp_path: Path, content: bytes = b"weights") -> Path:
    path = tmp_path / "model" / "model.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_next_command_reads_no_weights_that_it_knows(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights(tmp_path)
    expected = hashlib.sha256(b"weights").hexdigest()
    assert file_digest(path) == file_digest(path) == expected
    new_process(monkeypatch)
    assert file_digest(path) == expected
    folder = content_identity(path.parent)
    new_process(monkeypatch)
    assert content_identity(path.parent) == folder
    assert reads == ["model.safetensors"]


def rewrite(path: Path) -> None:
    path.write_bytes(b"WEIGHTS")


def rewrite_with_the_old_date(path: Path) -> None:
    found = path.stat()
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def put_another_in_its_place(path: Path) -> None:
    found, other = path.stat(), path.with_name("other")
    other.write_bytes(b"WEIGHTS")
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [rewrite, rewrite_with_the_old_date, put_another_in_its_place])
@pytest.mark.parametrize("same_process", [True, False])
def test_other_weights_of_the_same_size_are_noticed_whatever_their_date(
    tmp_path: Path, change: Callable[[Path], None], same_process: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights(tmp_path)
    file_digest(path)
    time.sleep(0.02)  # the clock of a disk ticks every few milliseconds
    change(path)
    if not same_process:
        new_process(monkeypatch)
    assert file_digest(path) == hashlib.sha256(b"WEIGHTS").hexdigest()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"signature": [1], "sha256": 5}', b'{"sha256": "00"}', b"\xff"])
def test_a_damaged_note_counts_as_none(tmp_path: Path, notes: Path, damage: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights(tmp_path)
    expected = file_digest(path)
    (note,) = notes.iterdir()
    note.write_bytes(damage)
    new_process(monkeypatch)
    assert file_digest(path) == expected


def test_nothing_is_noted_of_small_files_nor_of_those_just_written(
    tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED", 60.0)
    file_digest(weights(tmp_path))
    monkeypatch.setattr(digests, "SETTLED", -1.0)
    monkeypatch.setattr(digests, "LEAST_BYTES", 1000)
    new_process(monkeypatch)
    file_digest(weights(tmp_path))
    assert not notes.exists()


def test_a_scratch_folder_that_cannot_be_written_to_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STPA_SCRATCH", str(tmp_path / "file" / "below"))
    assert file_digest(weights(tmp_path)) == hashlib.sha256(b"weights").hexdigest()


def test_a_file_that_is_written_to_while_it_is_read_is_read_again(
    tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, original = weights(tmp_path), hashlib.file_digest

    def slow(stream: object, name: str) -> object:
        found = original(stream, name)  # type: ignore[arg-type]
        path.write_bytes(b"longer than before")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", slow)
        file_digest(path)
    assert not notes.exists()
    assert file_digest(path) == hashlib.sha256(b"longer than before").hexdigest()


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    path = weights(tmp_path)
    file_digest(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        file_digest(path)


def test_the_key_of_the_embedded_inpainter_is_what_it_was_before_anything_was_noted() -> None:

    expected = hashlib.sha256()
    folder = EMBEDDED / "ldm"
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors")):
        if path.name != "provenance.json":
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            expected.update(f"{path.relative_to(folder).as_posix()}\0{digest}\n".encode())
    assert declared_settings(InpaintSettings())["model_identity"] == expected.hexdigest()
