"""Checksums of files: of two kinds, told apart by their names, the same however a file is read."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.checksums import CRC32C, Part, checksum_file, checksum_of
from pipeline.artifacts.place import LocalPlace, open_place


def test_crc32c_is_that_of_the_standard() -> None:
    assert checksum_of([b"123456789"], CRC32C) == "crc32c:e3069283"  # the check value that every list of CRCs has
    assert checksum_of([bytes(32)], CRC32C) == "crc32c:8a9136aa"  # RFC 3720, B.4


def test_without_a_name_it_is_128_bits_of_blake2b() -> None:
    assert checksum_of([b"1234", b"56789"]) == hashlib.blake2b(b"123456789", digest_size=16).hexdigest()


@pytest.mark.parametrize("like", ["", CRC32C, "crc32c:00000000"])
def test_a_file_has_one_checksum_in_whatever_parts_it_is_read(tmp_path: Path, like: str) -> None:
    data = bytearray(np.random.default_rng(0).bytes(3_000_001))
    parts: list[Part] = [memoryview(data)[:7], bytes(data[7:2_000_000]), memoryview(data)[2_000_000:]]
    place, remote = LocalPlace(tmp_path), open_place(f"memory://{tmp_path.name}")
    for where in (place, remote):
        where.write("x", *parts)
        assert where.read("x") == bytes(data)
    found = {checksum_of(parts, like), checksum_of([bytes(data)], like), checksum_file(tmp_path / "x", like)}
    assert found == {place.digest("x", like), remote.digest("x", like)}
    assert len(found) == 1
    data[2_345_678] ^= 4
    assert checksum_of(parts, like) not in found


def test_an_empty_file_has_a_checksum_of_either_kind(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert checksum_file(tmp_path / "x", CRC32C) == "crc32c:00000000"
    assert checksum_file(tmp_path / "x") == hashlib.blake2b(digest_size=16).hexdigest()
