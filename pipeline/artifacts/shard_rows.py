"""Reads and writes rows of a shard without the machinery of Zarr, which costs several times what packing them does.

A shard (Zarr v3, codec ``sharding_indexed``) is its chunks one after another, then an index with 16 bytes for each chunk
(where it begins and how many bytes it has, little-endian), then the CRC32C of the index. A chunk here is one row, or all
rows of the shard: packed by Zstandard with a checksum of its own, or as it is with its CRC32C behind it. Nothing is taken on
trust: what does not add up raises.
What is written are the bytes that Zarr would write (tests compare them).
"""

import numpy as np
from numcodecs import zstd
from numpy.typing import NDArray

from pipeline.artifacts.bounded import unpacked_size
from pipeline.artifacts.checked_rows import CheckedRows
from pipeline.artifacts.checksums import CRC_BYTES, ChunkCrcs, checksum_of, crc_bytes, extend_crc32c
from pipeline.artifacts.layout import LEVEL, Layout
from pipeline.artifacts.place import Place
from pipeline.contract import Array

ENTRY = 16  # bytes
LONGEST_HEADER = 18  # of a Zstandard frame
NEVER = 2**64 - 1
"""Where a chunk begins that was never written."""
_CODEC = zstd.Zstd(level=LEVEL, checksum=True)

Bytes = NDArray[np.uint8]


def read_rows(place: Place, file: str, layout: Layout, first: int, out: Array) -> None:
    """Fill ``out`` with rows ``first`` and following of a shard's file.

    Parameters
    ----------
    place, file
        Where the shard lies.
    layout
        Of the array.
    first
        Counted from the first row of the shard.
    out
        (rows, ...) in the type of the array; filled in place.

    Raises
    ------
    ValueError, OSError, RuntimeError
        The file cannot be read, or an index or a chunk is not whole.
    """
    rows = layout.chunk_shape[0]
    wanted_K2 = _read_index(place, file, layout)[first // rows : -(-(first + len(out)) // rows)]
    chunks = _read_chunks(place, file, wanted_K2, layout)
    take = _unpack if layout.packed else _copy
    if rows == 1:
        for row, chunk in zip(out, chunks, strict=True):
            take(chunk, row)
        return
    whole = np.empty(layout.chunk_shape, out.dtype)
    take(chunks[0], whole)
    out[...] = whole[first : first + len(out)]


def pack_rows(values: Array, layout: Layout) -> tuple[list[bytes | memoryview], str]:
    """Return the file of a shard, as parts that lie one after another, and its checksum; what is not packed is not copied.

    Parameters
    ----------
    values
        All rows of the shard, of which the last one of a video has fewer than its chunks hold.
    layout
        Of the array.
    """
    if layout.packed:
        packed: list[bytes] = [_CODEC.encode(row) for row in _chunks(values, layout)]
        whole = [*packed, *_index(np.array([len(chunk) for chunk in packed], np.uint64), layout)]
        return whole, checksum_of(whole)
    size = layout.chunk_bytes + CRC_BYTES
    if isinstance(values, CheckedRows) and values.stored is not None and layout.chunk_shape[0] == 1:
        parts: list[bytes | memoryview] = [values.stored]
        crcs = [bytes(values.stored[end - CRC_BYTES : end]) for end in range(size, len(values.stored) + 1, size)]
    else:
        behind = [_with_checksum(row.reshape(-1).view(np.uint8)) for row in _chunks(values, layout)]
        parts = [part for chunk in behind for part in chunk]
        crcs = [crc for _, crc in behind]
    index = _index(np.full(len(crcs), size, np.uint64), layout)
    checksum = ChunkCrcs(size)
    for crc in crcs:
        checksum.take(crc)
    for part in index:
        checksum.update(part)
    return parts + index, checksum.hexdigest()


def _chunks(values: Array, layout: Layout) -> Array:
    return np.ascontiguousarray(values) if layout.chunk_shape[0] == 1 else _padded(values, layout)[None]


def _index(sizes_K: NDArray[np.uint64], layout: Layout) -> list[bytes | memoryview]:
    """Return the index of chunks that lie one after another, with its checksum."""
    index_K2 = np.full((layout.chunks, 2), NEVER, "<u8")
    index_K2[: len(sizes_K), 0] = np.cumsum(sizes_K) - sizes_K
    index_K2[: len(sizes_K), 1] = sizes_K
    return list(_with_checksum(index_K2.reshape(-1).view(np.uint8)))


def seems_packed(place: Place, file: str, layout: Layout) -> bool | None:
    """Return whether the first chunk of a shard is packed, whatever ``layout`` says of that; None where nothing tells."""
    try:
        start, size = _read_index(place, file, layout)[0].tolist()
        if size != layout.chunk_bytes + CRC_BYTES:
            return True
        _without_checksum(np.frombuffer(place.read(file, start, start + size), np.uint8), "a chunk")
    except (OSError, ValueError):
        return None
    return False


def _padded(values: Array, layout: Layout) -> Array:
    whole = np.full(layout.chunk_shape, layout.fill, values.dtype)
    whole[: len(values)] = values
    return whole


def _with_checksum(data: Bytes) -> tuple[memoryview, bytes]:
    return data.data, crc_bytes(extend_crc32c(0, data.data))


def _without_checksum(data: Bytes, what: str) -> Bytes:
    """Return the bytes that a checksum stands behind."""
    if crc_bytes(extend_crc32c(0, data[:-CRC_BYTES].data)) != data[-CRC_BYTES:].tobytes():
        raise ValueError(f"{what} fails its checksum")
    return data[:-CRC_BYTES]


def _read_index(place: Place, file: str, layout: Layout) -> NDArray[np.uint64]:
    data = place.read(file, -(ENTRY * layout.chunks + CRC_BYTES))
    if not data:
        raise EOFError(f"{place / file} is empty")
    if len(data) != ENTRY * layout.chunks + CRC_BYTES:
        raise ValueError(f"expected an index of {layout.chunks} chunks, found {len(data)} bytes")
    return _without_checksum(np.frombuffer(data, np.uint8), "the index").view("<u8").reshape(layout.chunks, 2)


def _read_chunks(place: Place, file: str, wanted_K2: NDArray[np.uint64], layout: Layout) -> list[Bytes]:
    """Return the bytes of chunks; in one go where they lie one after another, as they do where this program wrote them."""
    starts, sizes = wanted_K2[:, 0].tolist(), wanted_K2[:, 1].tolist()
    if NEVER in starts:
        raise ValueError("a chunk was never written")
    if max(sizes) > layout.most_bytes:
        raise ValueError(f"expected chunks of at most {layout.most_bytes:,} bytes, found one of {max(sizes):,}")
    ends = [start + size for start, size in zip(starts, sizes, strict=True)]
    if starts[1:] == ends[:-1]:
        data = np.frombuffer(place.read(file, starts[0], ends[-1]), np.uint8)
        return [data[start - starts[0] : end - starts[0]] for start, end in zip(starts, ends, strict=True)]
    return [np.frombuffer(place.read(file, start, end), np.uint8) for start, end in zip(starts, ends, strict=True)]


def _unpack(chunk: Bytes, out: Array) -> None:
    """Unpack into just the bytes that the chunk should have, whatever it claims."""
    found = unpacked_size(chunk[:LONGEST_HEADER].tobytes())
    if found != out.nbytes:
        what = "does not say" if found is None else f"unpacks to {found:,} bytes"
        raise ValueError(f"expected a chunk that unpacks to {out.nbytes:,} bytes, found one that {what}")
    zstd.decompress(chunk, out.reshape(-1).view(np.uint8))


def _copy(chunk: Bytes, out: Array) -> None:
    if len(chunk) != out.nbytes + CRC_BYTES:
        raise ValueError(f"expected a chunk of {out.nbytes + CRC_BYTES:,} bytes, found one of {len(chunk):,}")
    out.reshape(-1).view(np.uint8)[:] = _without_checksum(chunk, "a chunk")
