"""Arrays are unpacked to the size that is declared for them and to no other, whatever their bytes claim.

A chunk of a few kilobytes may say, or turn out, to be a hundred gigabytes. So a chunk must tell its unpacked size, which
must be that of the chunk's shape and type, and it is unpacked into just so many bytes. Every array that this program opens
is read through this codec; what it writes are the same bytes as Zarr's own.
"""

import asyncio
import math
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer
from zarr.registry import register_codec

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MOST_BYTES = 1 << 32
"""What an array of which nothing is known but its own metadata may take up when it is unpacked."""


class BoundedZstd(ZstdCodec):
    """Zstandard that unpacks no more than a chunk holds."""

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        expected = math.prod(chunk_spec.shape) * chunk_spec.dtype.to_native_dtype().itemsize
        packed = chunk_bytes.as_numpy_array()
        found = unpacked_size(packed[:18].tobytes())
        if found != expected:
            what = "does not say" if found is None else f"unpacks to {found:,} bytes"
            raise ValueError(f"expected a chunk that unpacks to {expected:,} bytes, found one that {what}")
        out = self._zstd_codec.decode(packed, np.empty(expected, np.uint8))
        return chunk_spec.prototype.buffer.from_bytes(out)

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._decode_sync, chunk_bytes, chunk_spec)


def unpacked_size(header: bytes) -> int | None:
    """Return the size that the header of a Zstandard frame (RFC 8878, 3.1.1.1) declares; None where it does not."""
    if len(header) < 6 or header[:4] != ZSTD_MAGIC:
        return None
    flag, single, dictionary = header[4] >> 6, header[4] >> 5 & 1, header[4] & 3
    width = (1 if single else 0, 2, 4, 8)[flag]
    start = 5 + (not single) + (0, 1, 2, 4)[dictionary]
    field = header[start : start + width]
    if width == 0 or len(field) < width:
        return None
    return int.from_bytes(field, "little") + (256 if width == 2 else 0)


def read_whole(array: "zarr.Array[Any]") -> NDArray[Any]:
    """Return all values of an array that nothing declares but its own metadata, unless they would fill the memory.

    Raises
    ------
    ValueError
        They take up more than 4 GiB, or one of its chunks does.
    """
    for what, shape in (("an array", array.shape), ("a chunk", array.shards or array.chunks)):
        size = math.prod(shape) * array.dtype.itemsize
        if size > MOST_BYTES:
            raise ValueError(f"{array.path}: expected {what} of at most {MOST_BYTES:,} bytes, found one of {size:,}")
    return np.asarray(array[:])


def require_layout(found: "zarr.Array[Any]", declared: "zarr.Array[Any]") -> None:
    """Refuse an array of another shape, type or packing than was declared: reading it may take any amount of memory.

    Raises
    ------
    ValueError
        The metadata differ; the first part that does is named.
    """
    for part in ("shape", "data_type", "chunk_grid", "chunk_key_encoding", "codecs", "storage_transformers"):
        one, other = getattr(declared.metadata, part), getattr(found.metadata, part)
        if one != other:
            raise ValueError(f"expected metadata with {part} {one}, found {other}")


register_codec("zstd", BoundedZstd)
zarr.config.set({"codecs.zstd": f"{BoundedZstd.__module__}.{BoundedZstd.__qualname__}"})
