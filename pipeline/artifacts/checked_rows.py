"""Rows of a shard that lie in memory as they will in its file, each with its CRC32C behind it.

A row is checked while it is in the processor's cache, and all are written from where they lie. Going over them again for
their checksums, and once more to copy them to where the disk may read from, took decoding a tenth of its time
(``benchmarks/decoding.py``).
"""

import mmap
import weakref
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.checksums import CRC_BYTES, crc_bytes, extend_crc32c
from pipeline.direct import PRIVATE

KEPT = 2
"""Pieces of memory that are kept for what comes next, the largest ones: to get new ones costs more than to fill them."""
_free: list[mmap.mmap] = []


class CheckedRows(np.ndarray[Any, np.dtype[np.uint8]]):
    """An array whose rows lie as in the file of their shard. It is read-only: the checksums hold for what is in it."""

    stored: memoryview | None = None
    """All rows, each with its CRC32C behind it, for the array itself; a view of it has none."""


class RoomForRows:
    """Room for ``count`` rows of uint8, to be filled one after another."""

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        self._row_bytes = int(np.prod(shape, dtype=np.int64))
        size = self._row_bytes + CRC_BYTES
        self._row_NB = _memory(count * size)[: count * size].reshape(count, size)
        self.rows: NDArray[np.uint8] = self._row_NB[:, : self._row_bytes].reshape(count, *shape)
        """(count, *shape), to be written into."""

    def done(self, row: int) -> None:
        """Take note that a row holds what it will."""
        crc = extend_crc32c(0, self._row_NB[row, : self._row_bytes].data)
        self._row_NB[row, self._row_bytes :] = np.frombuffer(crc_bytes(crc), np.uint8)

    def finished(self) -> CheckedRows:
        """Return all rows, once each is done; their memory is used again when nothing refers to them any more."""
        found = self.rows.view(CheckedRows)
        found.stored = self._row_NB.reshape(-1).data.toreadonly()
        for array in (found, self.rows, self._row_NB):
            array.flags.writeable = False
        return found


def _memory(size: int) -> NDArray[np.uint8]:
    """Return memory that begins at a page, of this many bytes or more."""
    held = _take(size) or mmap.mmap(-1, max(size, 1), flags=PRIVATE)
    memory_B = np.frombuffer(held, np.uint8)
    weakref.finalize(memory_B, _give_back, held).atexit = False
    return memory_B


def _take(size: int) -> mmap.mmap | None:
    for held in tuple(_free):
        if len(held) >= size:
            with suppress(ValueError):  # another thread took it
                _free.remove(held)
                return held
    return None


def _give_back(held: mmap.mmap) -> None:
    _free.append(held)
    if len(_free) > KEPT:
        with suppress(ValueError):  # another thread took it
            _free.remove(min(_free, key=len))
