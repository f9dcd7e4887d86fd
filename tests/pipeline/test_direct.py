"""Large files are written past the page cache, to the same bytes, and the usual way where that cannot be."""

import errno
import fcntl
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import direct
from pipeline.direct import ALIGNED, BLOCK, SMALLEST, write_directly
from pipeline.files import write_atomically

SHM = Path("/dev/shm")


def parts_of(sizes: list[int]) -> list[bytes | memoryview]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, size, dtype=np.uint8).data for size in sizes]


def written(path: Path, parts: list[bytes | memoryview]) -> bool:
    with path.open("wb", buffering=0) as file:
        return write_directly(file.fileno(), parts)


def supported(folder: Path) -> bool:
    return written(folder / "probe", [bytes(SMALLEST)])


@pytest.mark.parametrize(
    "sizes",
    [
        [SMALLEST],
        [SMALLEST + 1],
        [BLOCK],
        [BLOCK - 1, 2],
        [3, BLOCK, 5, 2 * BLOCK, 7],
        [0, SMALLEST, 0, ALIGNED - 1],
        [196_612] * 43,
    ],
    ids=str,
)
def test_the_bytes_are_those_of_the_parts(sizes: list[int], tmp_path: Path) -> None:
    if not supported(tmp_path):
        pytest.skip("this file system writes through the page cache only")
    parts = parts_of(sizes)
    assert written(tmp_path / "a", parts)
    assert (tmp_path / "a").read_bytes() == b"".join(parts)


@pytest.mark.parametrize("before", [0, 1, ALIGNED])
@pytest.mark.parametrize("size", [SMALLEST, SMALLEST + 5, 2 * BLOCK + ALIGNED - 1])
def test_aligned_memory_is_written_as_other_memory_is(before: int, size: int, tmp_path: Path) -> None:
    if not supported(tmp_path):
        pytest.skip("this file system writes through the page cache only")
    aligned = memoryview(mmap.mmap(-1, size))
    aligned[:] = parts_of([size])[0]
    parts = [bytes(before), aligned, b"end", aligned]
    assert written(tmp_path / "a", parts)
    assert (tmp_path / "a").read_bytes() == b"".join(parts)


def test_an_array_of_any_shape_is_written_as_it_lies(tmp_path: Path) -> None:
    array = np.arange(SMALLEST // 4, dtype=np.float32).reshape(64, -1)
    write_atomically(tmp_path / "a", b"head", array.data, np.zeros((0, 3)).data)
    assert (tmp_path / "a").read_bytes() == b"head" + array.tobytes()


def test_small_files_are_left_to_the_page_cache(tmp_path: Path) -> None:
    assert not written(tmp_path / "a", [bytes(SMALLEST - 1)])
    assert (tmp_path / "a").stat().st_size == 0


def _refuse_flag(handle: int, command: int, value: int = 0) -> int:
    if command == fcntl.F_SETFL and value & direct.DIRECT:
        raise OSError(errno.EINVAL, "Invalid argument")
    return _fcntl(handle, command, value)


def _refuse_write(handle: int, block: memoryview) -> int:
    if fcntl.fcntl(handle, fcntl.F_GETFL) & direct.DIRECT:
        raise OSError(errno.EINVAL, "Invalid argument")
    return _write(handle, block)


_fcntl, _write = fcntl.fcntl, os.write


@pytest.mark.parametrize(("module", "name", "refuse"), [(fcntl, "fcntl", _refuse_flag), (os, "write", _refuse_write)])
def test_where_the_file_system_refuses_it_is_done_the_usual_way(
    module: Any, name: str, refuse: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, refuse)
    parts = parts_of([BLOCK + 9, SMALLEST])
    write_atomically(tmp_path / "a", *parts)
    assert (tmp_path / "a").read_bytes() == b"".join(parts)
    assert not written(tmp_path / "b", parts)
    assert (tmp_path / "b").stat().st_size == 0


def test_without_such_a_flag_nothing_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "DIRECT", 0)
    assert not written(tmp_path / "a", [bytes(SMALLEST)])


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not supported(tmp_path):
        pytest.skip("this file system writes through the page cache only")
    monkeypatch.setattr(os, "write", lambda handle, block: _write(handle, block[: 16 * ALIGNED]))
    parts = parts_of([BLOCK + 9])
    assert written(tmp_path / "a", parts)
    assert (tmp_path / "a").read_bytes() == b"".join(parts)


def test_a_disk_that_fills_up_is_an_error_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomically(tmp_path / "a", b"old")

    def full(handle: int, block: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    if not supported(tmp_path):
        pytest.skip("this file system writes through the page cache only")
    (tmp_path / "probe").unlink()
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(tmp_path / "a", bytes(SMALLEST))
    assert caught.value.errno == errno.ENOSPC
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("a", b"old")]


@pytest.mark.skipif(not SHM.is_dir(), reason="no file system in memory here")
def test_a_file_system_in_memory_gets_the_same_bytes() -> None:
    path = SHM / f"stpa-test-{os.getpid()}"
    parts = parts_of([BLOCK + 1, 77])
    try:
        write_atomically(path, *parts)
        assert path.read_bytes() == b"".join(parts)
    finally:
        path.unlink(missing_ok=True)
