"""Checksums of files, as receipts hold them.

128 bits of BLAKE2b; of arrays that are stored as they are CRC32C, which processors compute ten times as fast
(``benchmarks/packing.py``): hashing was a good part of what decoding and classical flow took. In front stands its name, so
that a file is checked as it was written. In a file of up to 256 MiB it finds any three flipped bits, and any damage within
32 bits, for certain, other damage but for one in 2**32; every chunk has one of its own as well. Neither keeps off somebody
who can write receipts.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import google_crc32c
import numpy as np

CRC32C = "crc32c:"
Part = bytes | memoryview


class Checksum(Protocol):
    """A checksum in the making."""

    def update(self, data: Part, /) -> None:
        """Take in what follows."""

    def hexdigest(self) -> str:
        """Return the checksum of all that was taken in."""


class Crc32c:
    """CRC32C (RFC 3720, B.4) behind the interface of :mod:`hashlib`."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: Part, /) -> None:
        """Take in what follows."""
        seen_B = np.frombuffer(data, np.uint8)
        seen_B.flags.writeable = False  # or it would not be taken
        self._value = google_crc32c.extend(self._value, seen_B)

    def hexdigest(self) -> str:
        """Return the checksum, with its name."""
        return f"{CRC32C}{self._value:08x}"


def new_checksum(like: str = "") -> Checksum:
    """Return a checksum to be made, of the kind of another one."""
    return Crc32c() if like.startswith(CRC32C) else hashlib.blake2b(digest_size=16)


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
