"""Checksums of files: of two kinds, told apart by their names, the same however a file is read."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.checksums import ChunkCrcs, Part, checksum_file, checksum_of, crc_bytes, extend_crc32c
from pipeline.artifacts.place import LocalPlace, open_place


def test_crc32c_is_that_of_the_standard() -> None:
    assert checksum_of([b"123456789"], "crc32c:") == "crc32c:e3069283"  # the check value that every list of CRCs has
    assert checksum_of([bytes(32)], "crc32c:") == "crc32c:8a9136aa"  # RFC 3720, B.4


def test_a_checksum_of_chunks_is_the_hash_of_their_crcs_of_what_is_behind_them_and_of_the_length() -> None:
    data = np.random.default_rng(0).bytes(100 + 100 + 30)
    bodies = [data[:96], data[100:196], data[200:]]
    crcs = [int(checksum_of([body], "crc32c:")[7:], 16).to_bytes(4, "little") for body in bodies]
    seen = crcs[0] + data[96:100] + crcs[1] + data[196:200] + crcs[2] + (230).to_bytes(8, "little")
    expected = hashlib.blake2b(seen, digest_size=16).hexdigest()
    assert checksum_of([data], "crc32c/100:") == f"crc32c/100:{expected}"


def test_a_whole_chunk_of_which_the_crc_is_known_need_not_be_read() -> None:
    made, read = ChunkCrcs(104), ChunkCrcs(104)
    for seed in range(3):
        body = np.random.default_rng(seed).bytes(100)
        crc = crc_bytes(extend_crc32c(0, body))
        made.take(crc)
        read.update(body + crc)
    made.update(b"end")
    read.update(b"end")
    assert made.hexdigest() == read.hexdigest()


@pytest.mark.parametrize("like", ["crc32c/0:", "crc32c/4:", "crc32c/x:", "crc32c/-9:", "crc32c", f"crc32c/{10**16}:"])
def test_a_checksum_that_was_tampered_with_fits_no_file(like: str) -> None:
    assert checksum_of([b"data"], like) == checksum_of([b"data"])


def test_without_a_name_it_is_128_bits_of_blake2b() -> None:
    assert checksum_of([b"1234", b"56789"]) == hashlib.blake2b(b"123456789", digest_size=16).hexdigest()


@pytest.mark.parametrize("like", ["", "crc32c:00000000", "crc32c/5:", "crc32c/1000:", "crc32c/4000000:"])
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
    for byte in (0, 999, 2_345_678, 3_000_000):
        data[byte] ^= 4
        assert checksum_of([bytes(data)], like) not in found
        data[byte] ^= 4
    assert checksum_of([bytes(data), b"\0"], like) not in found
    assert checksum_of([bytes(data[:-1])], like) not in found


def test_an_empty_file_has_a_checksum_of_either_kind(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert checksum_file(tmp_path / "x", "crc32c:") == "crc32c:00000000"
    assert checksum_file(tmp_path / "x", "crc32c/100:").startswith("crc32c/100:")
    assert checksum_file(tmp_path / "x") == hashlib.blake2b(digest_size=16).hexdigest()
