"""Checksums of files, as receipts hold them: 128 bits of BLAKE2b.

They are of all bytes or, where an array is stored as it is, of the CRC32C of its chunks, which processors compute ten times
as fast (``benchmarks/packing.py``) and which stand behind the chunks anyway. In front is then how long chunks are, so that a
file is checked as it was written: ``crc32c/196612:`` and the hash. Of a chunk any three flipped bits and any damage within
32 bits are found for certain, other damage but for one in 2**32. It does not keep off somebody who can write receipts.

A CRC of the whole file, as earlier receipts hold it (``crc32c:``), finds damage as well but does not tell one whole shard
from another: that of anything with its own CRC behind is always the same number.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import google_crc32c
import numpy as np

CRC32C = "crc32c"
CRC_BYTES = 4
_OF_CHUNKS = re.compile(rf"{CRC32C}/(?P<size>\d{{1,15}}):")
Part = bytes | memoryview


class Checksum(Protocol):
    """A checksum in the making."""

    def update(self, data: Part, /) -> None:
        """Take in what follows."""

    def hexdigest(self) -> str:
        """Return the checksum of all that was taken in."""


class WholeCrc:
    """CRC32C (RFC 3720, B.4) of a whole file behind the interface of :mod:`hashlib`."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: Part, /) -> None:
        """Take in what follows."""
        self._value = extend_crc32c(self._value, data)

    def hexdigest(self) -> str:
        """Return the checksum, with its name."""
        return f"{CRC32C}:{self._value:08x}"


class ChunkCrcs:
    """BLAKE2b of the CRC32C of each chunk of a file, of what is stored behind each, and of the length of all.

    ``size`` is that of a chunk with the four bytes behind it; what is left at the end counts as a chunk that is cut off. In
    a shard that is the index with its own CRC: it is the same for all of one layout, and only known to be whole.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._hash = hashlib.blake2b(digest_size=16)
        self._at = self._length = self._crc = 0

    def update(self, data: Part, /) -> None:
        """Take in what follows."""
        rest = memoryview(data).cast("B")
        while len(rest):
            body = self._size - CRC_BYTES - self._at
            taken = rest[: body if body > 0 else self._size - self._at]
            if body > 0:
                self._crc = extend_crc32c(self._crc, taken)
            else:
                self._hash.update(taken)
            if len(taken) == body:
                self._hash.update(crc_bytes(self._crc))
                self._crc = 0
            self._at = (self._at + len(taken)) % self._size
            self._length += len(taken)
            rest = rest[len(taken) :]

    def take(self, crc: bytes) -> None:
        """Take in a whole chunk of which the CRC is known, and stored behind it."""
        self._hash.update(crc + crc)
        self._length += self._size

    def hexdigest(self) -> str:
        """Return the checksum, with its name."""
        found = self._hash.copy()
        found.update(crc_bytes(self._crc) + self._length.to_bytes(8, "little"))
        return f"{CRC32C}/{self._size}:{found.hexdigest()}"


def extend_crc32c(crc: int, data: Part) -> int:
    """Return the CRC32C of what ``crc`` is of with ``data`` behind it; 0 = of nothing."""
    seen_B = np.frombuffer(data, np.uint8)
    seen_B.flags.writeable = False  # or it would not be taken
    return int(google_crc32c.extend(crc, seen_B))


def crc_bytes(crc: int) -> bytes:
    """Return a CRC as it is stored."""
    return crc.to_bytes(CRC_BYTES, "little")


def new_checksum(like: str = "") -> Checksum:
    """Return a checksum to be made, of the kind of another one."""
    if like.startswith(f"{CRC32C}:"):
        return WholeCrc()
    if (chunks := _OF_CHUNKS.match(like)) and int(chunks["size"]) > CRC_BYTES:
        return ChunkCrcs(int(chunks["size"]))
    return hashlib.blake2b(digest_size=16)


def checksum_of(parts: Iterable[Part], like: str = "") -> str:
    """Return the checksum of parts of a file one after another."""
    made = new_checksum(like)
    for part in parts:
        made.update(part)
    return made.hexdigest()


def checksum_file(path: Path, like: str = "") -> str:
    """Return the checksum of a file, read piece by piece."""
    with path.open("rb") as file:
        return checksum_of(iter(lambda: file.read(1 << 20), b""), like)
