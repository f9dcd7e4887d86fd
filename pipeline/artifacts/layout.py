"""How an array lies on disk: shards of so many rows in chunks of one row or of a whole shard, packed or as they are.

Zstandard packs what is small or shrinks well: masks and features. Pictures hardly shrink and flow does not, while unpacking
took most of the time of reading a clip, and packing a good part of making it: they are stored as they are, each chunk behind
a CRC32C. Both are codecs of every Zarr v3. An array is read as its own metadata say: a store may hold both kinds.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec
from zarr.storage import MemoryStore

from pipeline.artifacts.bounded import BoundedZstd
from pipeline.contract import ArraySpec

StoredFiles = dict[str, Any]
"""Path in a store -> Zarr's buffer of bytes."""

LEVEL = 1  # of Zstandard
SMALL_ROW_BYTES = 16_384  # below this a chunk per frame costs more in bookkeeping than it saves in reading


@dataclass(frozen=True)
class Layout:
    """Where the rows of an array are in the files of its shards."""

    spec: ArraySpec
    shard_rows: int
    packed: bool

    @cached_property
    def fill(self) -> float:
        """What stands where there are no rows."""
        return np.nan if np.dtype(self.spec.dtype).kind == "f" else 0

    @cached_property
    def chunk_shape(self) -> tuple[int, ...]:
        """One row, or all rows of a shard where these are small."""
        row_shape = self.spec.shape[1:]
        row_bytes = int(np.prod(row_shape, dtype=np.int64)) * np.dtype(self.spec.dtype).itemsize
        return (1 if row_bytes >= SMALL_ROW_BYTES else self.shard_rows, *row_shape)

    @cached_property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk that is not packed."""
        return int(np.prod(self.chunk_shape, dtype=np.int64)) * np.dtype(self.spec.dtype).itemsize

    @cached_property
    def most_bytes(self) -> int:
        """Bytes that a chunk takes up at most: Zstandard adds a 256th to what it cannot pack, and its frame."""
        return self.chunk_bytes + self.chunk_bytes // 128 + 256

    @cached_property
    def chunks(self) -> int:
        """How many a shard has."""
        return self.shard_rows // self.chunk_shape[0]

    @property
    def metadata(self) -> bytes:
        """What its ``zarr.json`` holds."""
        return _metadata(self)

    def new_array(self) -> "tuple[zarr.Array[Any], StoredFiles]":
        """Return an array in memory and the files that it consists of, so far its metadata."""
        files: StoredFiles = {}
        array = zarr.create_array(
            MemoryStore(files),
            shape=self.spec.shape,
            chunks=self.chunk_shape,
            shards=(self.shard_rows, *self.spec.shape[1:]),
            dtype=self.spec.dtype,
            compressors=BoundedZstd(level=LEVEL, checksum=True) if self.packed else Crc32cCodec(),
            fill_value=self.fill,
            dimension_names=self.spec.dimension_names,
            attributes={"units": self.spec.units, "description": self.spec.description},
            # A chunk equal to the fill value is stored all the same, or a lost one could not be told from it.
            config={"write_empty_chunks": True},
        )
        return array, files


@lru_cache(maxsize=256)
def _metadata(layout: Layout) -> bytes:
    return bytes(layout.new_array()[1]["zarr.json"].to_bytes())


def is_packed(array: "zarr.Array[Any]") -> bool:
    """Return whether an array's own metadata say that its chunks are packed."""
    return array.compressors != (Crc32cCodec(),)


def shard_parts(index: int, ndim: int) -> list[str]:
    """Return where a Zarr array keeps a shard of all of a frame: c/INDEX/0/0 for three axes."""
    return ["c", str(index), *["0"] * (ndim - 1)]
