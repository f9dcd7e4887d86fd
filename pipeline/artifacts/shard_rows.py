"""Reads and writes rows of a shard without the machinery of Zarr, which costs several times what packing them does.

A shard (Zarr v3, codec ``sharding_indexed``) is its chunks one after another, then an index with 16 bytes for each chunk
(where it begins and how many bytes it has, little-endian), then the CRC32C of the index. A chunk here is one row, or all
rows of the shard, packed by Zstandard with a checksum of its own. Nothing is taken on trust: what does not add up raises.
What is written are the bytes that Zarr would write (tests compare them).
"""

from collections.abc import Sequence

import google_crc32c
import numpy as np
from numcodecs import zstd
from numpy.typing import NDArray

from pipeline.artifacts.bounded import unpacked_size
from pipeline.artifacts.place import Place
from pipeline.contract import Array

ENTRY, CHECKSUM = 16, 4  # bytes
LONGEST_HEADER = 18  # of a Zstandard frame
NEVER = 2**64 - 1
"""Where a chunk begins that was never written."""
_CODEC = zstd.Zstd(level=1, checksum=True)


def read_rows(place: Place, file: str, chunk_shape: Sequence[int], chunks: int, first: int, out: Array) -> None:
    """Fill ``out`` with rows ``first`` and following of a shard's file.

    Parameters
    ----------
    place, file
        Where the shard lies.
    chunk_shape
        Of one chunk; its first entry is 1, or the number of rows of the shard.
    chunks
        How many a shard has.
    first
        Counted from the first row of the shard.
    out
        (rows, ...) in the type of the array; filled in place.

    Raises
    ------
    ValueError, OSError, RuntimeError
        The file cannot be read, or an index or a chunk is not whole.
    """
    wanted_K2 = _read_index(place, file, chunks)[first // chunk_shape[0] : -(-(first + len(out)) // chunk_shape[0])]
    packed = _read_chunks(place, file, wanted_K2)
    if chunk_shape[0] == 1:
        for row, data in zip(out, packed, strict=True):
            _unpack(data, row)
        return
    whole = np.empty(tuple(chunk_shape), out.dtype)
    _unpack(packed[0], whole)
    out[...] = whole[first : first + len(out)]


def pack_rows(values: Array, chunk_shape: Sequence[int], chunks: int, fill: float) -> bytes:
    """Return the file of a shard.

    Parameters
    ----------
    values
        All rows of the shard, of which the last one of a video has fewer than ``chunks`` chunks hold.
    chunk_shape, chunks
        Of one chunk, and how many a shard has; the first entry of the shape is 1, or the number of rows of the shard.
    fill
        Where there are no rows.
    """
    parts = values[:, None] if chunk_shape[0] == 1 else _padded(values, tuple(chunk_shape), fill)[None]
    packed = [_CODEC.encode(np.ascontiguousarray(part)) for part in parts]
    index_K2 = np.full((chunks, 2), NEVER, "<u8")
    sizes = np.array([len(data) for data in packed], np.uint64)
    index_K2[: len(packed), 0] = np.cumsum(sizes) - sizes
    index_K2[: len(packed), 1] = sizes
    index = index_K2.tobytes()
    return b"".join([*packed, index, google_crc32c.value(index).to_bytes(CHECKSUM, "little")])


def _padded(values: Array, shape: tuple[int, ...], fill: float) -> Array:
    whole = np.full(shape, fill, values.dtype)
    whole[: len(values)] = values
    return whole


def _read_index(place: Place, file: str, chunks: int) -> NDArray[np.uint64]:
    data = place.read(file, -(ENTRY * chunks + CHECKSUM))
    if not data:
        raise EOFError(f"{place / file} is empty")
    if len(data) != ENTRY * chunks + CHECKSUM:
        raise ValueError(f"expected an index of {chunks} chunks, found {len(data)} bytes")
    index, checksum = data[:-CHECKSUM], int.from_bytes(data[-CHECKSUM:], "little")
    if google_crc32c.value(index) != checksum:
        raise ValueError("the index fails its checksum")
    return np.frombuffer(index, "<u8").reshape(chunks, 2)


def _read_chunks(place: Place, file: str, wanted_K2: NDArray[np.uint64]) -> list[memoryview]:
    """Return the bytes of chunks; in one go where they lie one after another, as they do where this program wrote them."""
    starts, sizes = wanted_K2[:, 0].tolist(), wanted_K2[:, 1].tolist()
    if NEVER in starts:
        raise ValueError("a chunk was never written")
    if starts[1:] == [start + size for start, size in zip(starts, sizes, strict=True)][:-1]:
        data = memoryview(place.read(file, starts[0], starts[-1] + sizes[-1]))
        return [data[start - starts[0] : start - starts[0] + size] for start, size in zip(starts, sizes, strict=True)]
    return [memoryview(place.read(file, start, start + size)) for start, size in zip(starts, sizes, strict=True)]


def _unpack(packed: memoryview, out: Array) -> None:
    """Unpack into just the bytes that the chunk should have, whatever it claims."""
    found = unpacked_size(bytes(packed[:LONGEST_HEADER]))
    if found != out.nbytes:
        what = "does not say" if found is None else f"unpacks to {found:,} bytes"
        raise ValueError(f"expected a chunk that unpacks to {out.nbytes:,} bytes, found one that {what}")
    zstd.decompress(packed, out.reshape(-1).view(np.uint8))
