"""One artifact on disk: a Zarr v3 group with an array per video and name, receipts, and a manifest.

    <stage>-<key>/manifest.json
                  receipts/<split>-<video>@<digest>.<shard>-of-<shards>.json
                  data/<split>-<video>@<digest>/<name>/          a sharded Zarr array, time first

The digest of a video's content is part of its folder: a replaced video gets new arrays beside the old ones, and putting
the old file back costs nothing. A shard is written whole by one task and receipted afterwards; without its receipt it
does not exist, whatever lies on disk.
"""

import json
import os
from collections.abc import Mapping
from glob import escape
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from pipeline.artifacts.files import write_atomically, write_json
from pipeline.artifacts.keys import digest_bytes
from pipeline.artifacts.receipts import receipt_name, video_name
from pipeline.artifacts.seals import sealed
from pipeline.contract import Array, ArraySpec, Shard, VideoRecord

StoredFiles = dict[str, Any]
"""Path in a store -> Zarr's buffer of bytes."""

SMALL_ROW_BYTES = 16_384  # below this a chunk per frame costs more in bookkeeping than it saves in reading


class MissingShardError(LookupError):
    """A shard that a reader needs was never completed."""


class DamagedShardError(OSError):
    """A shard has its receipt, but its bytes are gone or fail their checksum."""


class Artifact:
    """What one stage left behind under one key."""

    def __init__(self, folder: Path, *, stage: str, key: str, shard_frames: int, made_by: str = "") -> None:
        self.folder = folder
        self.made_by = made_by or stage  # the command that makes it, for messages
        self.stage = stage
        self.key = key
        self.shard_frames = shard_frames
        self.receipts_folder = folder / "receipts"
        self._opened: dict[Path, zarr.Array[Any]] = {}  # opening costs a millisecond, and clips are read one by one

    def receipts(self) -> set[str]:
        """Return the names of all receipts: one listing, nothing opened."""
        try:
            with os.scandir(self.receipts_folder) as entries:
                return {entry.name for entry in entries if entry.name.endswith(".json")}
        except FileNotFoundError:
            return set()

    def has_receipt(self, name: str) -> bool:
        """Say whether there is a receipt of this name now, whatever was listed before."""
        return (self.receipts_folder / name).exists()

    def read_receipt(self, name: str) -> dict[str, Any] | None:
        """Return what a receipt says, unchecked; None where it is missing or damaged."""
        try:
            content = json.loads((self.receipts_folder / name).read_bytes())
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def write_receipt(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a receipt and the checksum of all that it says: the last act of making what it stands for."""
        write_json(self.receipts_folder / name, sealed(content))

    def remove_receipt(self, name: str) -> None:
        """Remove a receipt if it is there, so that what it stands for counts as never made."""
        (self.receipts_folder / name).unlink(missing_ok=True)

    def manifest(self) -> dict[str, Any] | None:
        """Return the manifest, or None where the artifact was never begun or the manifest is damaged."""
        try:
            content = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def begin(self, manifest: Mapping[str, Any]) -> None:
        """Create the artifact's folders; a manifest that is already there is kept.

        Raises
        ------
        OSError
            They cannot be written, or one of them is a symbolic link.
        """
        for folder in (self.folder.parent, self.folder, self.receipts_folder):
            _refuse_link(folder)
        self.receipts_folder.mkdir(parents=True, exist_ok=True)
        if self.manifest() is None:
            write_json(self.folder / "manifest.json", dict(manifest))

    def shards(self, record: VideoRecord, length: int) -> list[Shard]:
        """Return the shards that ``length`` elements of a video are cut into."""
        starts = range(0, length, self.shard_frames)
        return [
            Shard(record=record, index=i, start=start, stop=min(start + self.shard_frames, length))
            for i, start in enumerate(starts)
        ]

    def prepare(self, record: VideoRecord, specs: tuple[ArraySpec, ...]) -> None:
        """Write the metadata of the arrays of one video, unless they are there and whole. No shard is touched."""
        for spec in specs:
            path = self._array_path(record, spec.name)
            for folder in (self.folder / "data", path.parent, path, path / "c"):
                _refuse_link(folder)
            _write_metadata(path, self._new_array(spec)[1])
            for folder in (path.parent, self.folder / "data"):
                _write_metadata(folder, _group_files())

    def _new_array(self, spec: ArraySpec) -> tuple["zarr.Array[Any]", StoredFiles]:
        """Return an array in memory and the files that it consists of, so far its metadata."""
        files: StoredFiles = {}
        row_shape = spec.shape[1:]
        row_bytes = int(np.prod(row_shape, dtype=np.int64)) * np.dtype(spec.dtype).itemsize
        array = zarr.create_array(
            MemoryStore(files),
            shape=spec.shape,
            chunks=(1 if row_bytes >= SMALL_ROW_BYTES else self.shard_frames, *row_shape),
            shards=(self.shard_frames, *row_shape),
            dtype=spec.dtype,
            compressors=ZstdCodec(level=1, checksum=True),
            fill_value=np.nan if np.dtype(spec.dtype).kind == "f" else 0,
            dimension_names=spec.dimension_names,
            attributes={"units": spec.units, "description": spec.description},
            # A chunk equal to the fill value is stored all the same, or a lost one could not be told from it.
            config={"write_empty_chunks": True},
        )
        return array, files

    def _encode(self, shard: Shard, spec: ArraySpec, values: Array) -> bytes:
        """Return the bytes of a shard's file. Encoded in memory, so that an old shard stays whole until the new one is."""
        array, files = self._new_array(spec)
        array[shard.start : shard.stop] = values
        return bytes(files["/".join(_shard_parts(shard.index, len(spec.shape)))].to_bytes())

    def decode(self, shard: Shard, spec: ArraySpec, data: bytes) -> Array:
        """Return what the bytes of a shard's file hold, whatever metadata lie beside it; raises what the codecs raise."""
        array, files = self._new_array(spec)
        files["/".join(_shard_parts(shard.index, len(spec.shape)))] = default_buffer_prototype().buffer.from_bytes(data)
        return np.asarray(array[shard.start : shard.stop])

    def metadata(self, video: str, specs: tuple[ArraySpec, ...]) -> dict[str, bytes]:
        """Return the metadata that :meth:`prepare` writes for a folder of a video: path in the artifact -> content."""
        group = bytes(_group_files()["zarr.json"].to_bytes())
        found = {"data/zarr.json": group, f"data/{video}/zarr.json": group}
        for spec in specs:
            found[f"data/{video}/{spec.name}/zarr.json"] = bytes(self._new_array(spec)[1]["zarr.json"].to_bytes())
        return found

    def shard_files(self, shard: Shard, specs: tuple[ArraySpec, ...]) -> dict[str, ArraySpec]:
        """Return where the arrays of a shard lie: path relative to the artifact -> array."""
        video = video_name(shard.record)
        return {"/".join(("data", video, spec.name, *_shard_parts(shard.index, len(spec.shape)))): spec for spec in specs}

    def write(self, shard: Shard, arrays: Mapping[str, Array], specs: tuple[ArraySpec, ...]) -> dict[str, str]:
        """Write one shard whole and return the checksum of each file, by path relative to the artifact.

        Raises
        ------
        ValueError
            The worker returned other arrays, shapes or dtypes than its stage declares, or NaN.
        """
        if set(arrays) != {spec.name for spec in specs}:
            declared = sorted(spec.name for spec in specs)
            raise ValueError(f"{self.stage}: expected arrays {declared}, the worker returned {sorted(arrays)}")
        checksums = {}
        for spec in specs:
            values = arrays[spec.name]
            _check_values(self.stage, shard, spec, values)
            data = self._encode(shard, spec, values)
            file = self._array_path(shard.record, spec.name).joinpath(*_shard_parts(shard.index, len(spec.shape)))
            write_atomically(file, data)  # on disk when this returns: the receipt must not overtake what it vouches for
            checksums[str(file.relative_to(self.folder))] = digest_bytes(data)
        return checksums

    def read(self, record: VideoRecord, name: str, length: int, start: int, stop: int) -> Array:
        """Return elements ``start`` to ``stop`` along time of one array.

        Raises
        ------
        MissingShardError
            A shard in that range has no receipt.
        DamagedShardError
            A shard's file is missing or its bytes fail the checksum of the codec.
        """
        if not 0 <= start <= stop <= length:
            raise IndexError(f"{self.stage}/{name} of {record.id}: asked for {start}:{stop}, has {length} elements")
        path = self._array_path(record, name)
        shards = self.shards(record, length)[start // self.shard_frames : -(-stop // self.shard_frames)]
        for shard in shards:
            self._require_receipt(shard, length)
        try:
            array = self._open(path)
            for shard in shards:
                _require_file(path.joinpath(*_shard_parts(shard.index, array.ndim)))
            return np.asarray(array[start:stop])
        except MemoryError:
            raise
        except Exception as error:  # codecs and zarr raise whatever they stumble over
            raise DamagedShardError(
                f"{path}: elements {start}:{stop} have a receipt but cannot be read ({type(error).__name__}: {error}); "
                f"run: stpa {self.made_by} --force --videos {quote(escape(record.id))}"
            ) from error

    def _open(self, path: Path) -> "zarr.Array[Any]":
        if path not in self._opened:
            self._opened[path] = zarr.open_array(path, mode="r")
        return self._opened[path]

    def _require_receipt(self, shard: Shard, length: int) -> None:
        total = -(-length // self.shard_frames)
        if not (self.receipts_folder / receipt_name(shard.record, shard.index, total)).exists():
            raise MissingShardError(
                f"{self.folder.name}: shard {shard.index + 1} of {total} of {shard.record.split} video {shard.record.id} "
                f"was never completed; run: stpa {self.made_by}"
            )

    def _array_path(self, record: VideoRecord, name: str) -> Path:
        return self.folder / "data" / video_name(record) / name


def _refuse_link(folder: Path) -> None:
    """Nothing is written behind a link: a name that somebody else put there must not lead out of the cache."""
    if folder.is_symlink():
        raise OSError(
            f"{folder}: expected a folder of the cache, found a symbolic link to {folder.readlink()}; remove it (to keep "
            "artifacts elsewhere, set run.cache)"
        )


def _group_files() -> StoredFiles:
    files: StoredFiles = {}
    zarr.create_group(MemoryStore(files))
    return files


def _write_metadata(folder: Path, files: StoredFiles) -> None:
    """Put zarr.json in place whole, also where a damaged one lies."""
    file, data = folder / "zarr.json", bytes(files["zarr.json"].to_bytes())
    if not file.is_file() or file.read_bytes() != data:
        write_atomically(file, data)


def _shard_parts(index: int, ndim: int) -> list[str]:
    """Return where a Zarr array keeps a shard of all of a frame: c/INDEX/0/0 for three axes."""
    return ["c", str(index), *["0"] * (ndim - 1)]


def _check_values(stage: str, shard: Shard, spec: ArraySpec, values: Array) -> None:
    expected = (shard.stop - shard.start, *spec.shape[1:])
    if values.shape != expected or values.dtype != np.dtype(spec.dtype):
        raise ValueError(
            f"{stage}/{spec.name} of {shard.record.id}, elements {shard.start}:{shard.stop}: expected {spec.dtype} "
            f"{expected}, the worker returned {values.dtype} {values.shape}"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(
            f"{stage}/{spec.name} of {shard.record.id}, elements {shard.start}:{shard.stop}: expected finite values, "
            f"the worker returned {int((~np.isfinite(values)).sum())} that are not"
        )


def _require_file(file: Path) -> None:
    """Zarr takes a shard without a file, or with an empty one, for one of fill values."""
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        raise FileNotFoundError(f"{file} is gone") from None
    if size == 0:
        raise EOFError(f"{file} is empty")
