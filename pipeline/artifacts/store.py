"""One artifact: a Zarr v3 group with an array per video and name, receipts, and a manifest.

    <stage>-<key>/manifest.json
                  receipts/<split>-<video>@<digest>.<shard>-of-<shards>.json
                  data/<split>-<video>@<digest>/<name>/          a sharded Zarr array, time first

The digest of a video's content is part of its folder: a replaced video gets new arrays beside the old ones, and putting
the old file back costs nothing. A shard is written whole by one task and receipted afterwards; without its receipt it
does not exist, whatever lies on disk.
"""

import json
from collections.abc import Mapping
from glob import escape
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from pipeline.artifacts.bounded import require_layout
from pipeline.artifacts.layout import Layout, StoredFiles, is_packed, shard_parts
from pipeline.artifacts.place import LocalPlace, Place
from pipeline.artifacts.receipts import receipt_name, video_name
from pipeline.artifacts.seals import sealed
from pipeline.artifacts.shard_rows import pack_rows, read_rows, seems_packed
from pipeline.contract import Array, ArraySpec, Shard, VideoRecord
from pipeline.files import json_bytes


class MissingShardError(LookupError):
    """A shard that a reader needs was never completed."""


class DamagedShardError(OSError):
    """A shard has its receipt, but its bytes are gone or fail their checksum."""


class Artifact:
    """What one stage left behind under one key."""

    def __init__(self, place: Place, *, stage: str, key: str, shard_frames: int, made_by: str = "") -> None:
        self.place = place
        self.made_by = made_by or stage  # the command that makes it, for messages
        self.stage = stage
        self.key = key
        self.shard_frames = shard_frames
        self._opened: dict[str, Layout] = {}  # opening costs a millisecond, and clips are read one by one
        self._seen: set[str] = set()  # receipts that were there when a reader asked for them

    @property
    def name(self) -> str:
        """What it is called in messages and below the dataset: stage and key."""
        return self.place.name

    @property
    def folder(self) -> Path:
        """Where it lies on this machine; a TypeError where it does not."""
        if not isinstance(self.place, LocalPlace):
            raise TypeError(f"{self.place}: expected a cache on this machine")
        return self.place.path

    @property
    def receipts_folder(self) -> Path:
        """The folder of receipts on this machine."""
        return self.folder / "receipts"

    def receipts(self) -> set[str]:
        """Return the names of all receipts: one listing, nothing opened."""
        return {name for name in self.place.names("receipts") if name.endswith(".json")}

    def has_receipt(self, name: str) -> bool:
        """Say whether there is a receipt of this name now, whatever was listed before."""
        return self.place.is_file(f"receipts/{name}")

    def read_receipt(self, name: str) -> dict[str, Any] | None:
        """Return what a receipt says, unchecked; None where it is missing or damaged."""
        return self._read_json(f"receipts/{name}")

    def write_receipt(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a receipt and the checksum of all that it says: the last act of making what it stands for."""
        self.place.write(f"receipts/{name}", json_bytes(sealed(content)))

    def remove_receipt(self, name: str) -> None:
        """Remove a receipt if it is there, so that what it stands for counts as never made."""
        self._seen.discard(name)
        self.place.remove(f"receipts/{name}")

    def _read_json(self, file: str) -> dict[str, Any] | None:
        try:
            content = json.loads(self.place.read(file))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def manifest(self) -> dict[str, Any] | None:
        """Return the manifest, or None where the artifact was never begun or the manifest is damaged."""
        return self._read_json("manifest.json")

    def begin(self, manifest: Mapping[str, Any]) -> None:
        """Create the artifact; a manifest that is already there is kept.

        Raises
        ------
        OSError
            It cannot be written, or one of its folders is a symbolic link.
        """
        self.place.make("receipts")
        if self.manifest() is None:
            self.place.write("manifest.json", json_bytes(dict(manifest)))

    def shards(self, record: VideoRecord, length: int) -> list[Shard]:
        """Return the shards that ``length`` elements of a video are cut into."""
        starts = range(0, length, self.shard_frames)
        return [
            Shard(record=record, index=i, start=start, stop=min(start + self.shard_frames, length))
            for i, start in enumerate(starts)
        ]

    def prepare(self, record: VideoRecord, specs: tuple[ArraySpec, ...]) -> None:
        """Write the metadata of the arrays of one video, unless they are there and whole. No shard is touched."""
        video = video_name(record)
        for spec in specs:
            self.place.make(f"data/{video}/{spec.name}/c")
        for file, content in self.metadata(video, specs).items():
            try:
                whole = self.place.read(file) == content
            except FileNotFoundError:
                whole = False
            if not whole:
                self.place.write(file, content)

    def decode(self, shard: Shard, spec: ArraySpec, data: bytes) -> Array:
        """Return what the bytes of a shard's file hold, laid out as declared; raises what the codecs raise."""
        array, files = self._layout(video_name(shard.record), spec).new_array()
        files["/".join(shard_parts(shard.index, len(spec.shape)))] = default_buffer_prototype().buffer.from_bytes(data)
        return np.asarray(array[shard.start : shard.stop])

    def metadata(self, video: str, specs: tuple[ArraySpec, ...]) -> dict[str, bytes]:
        """Return the metadata that :meth:`prepare` writes for a folder of a video: path in the artifact -> content."""
        group = bytes(_group_files()["zarr.json"].to_bytes())
        found = {"data/zarr.json": group, f"data/{video}/zarr.json": group}
        for spec in specs:
            found[f"data/{video}/{spec.name}/zarr.json"] = self._layout(video, spec).metadata
        return found

    def _layout(self, video: str, spec: ArraySpec) -> Layout:
        """Return how an array of a folder of a video is, or will be, laid out.

        Whether it is packed was decided when it was begun: its metadata say so or, where they are damaged, its shards.
        """
        wanted, other = (Layout(spec, self.shard_frames, packed) for packed in (spec.packed, not spec.packed))
        folder = f"data/{video}/{spec.name}"
        try:
            found = self.place.read(f"{folder}/zarr.json")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):  # what a store does not answer for is no damage
            found = b""
        if found in (wanted.metadata, other.metadata):
            return wanted if found == wanted.metadata else other
        for index in sorted(filter(str.isdecimal, self.place.names(f"{folder}/c"))):
            packed = seems_packed(self.place, "/".join((folder, *shard_parts(int(index), len(spec.shape)))), wanted)
            if packed is not None:
                return wanted if packed == wanted.packed else other
        return wanted

    def shard_files(self, shard: Shard, specs: tuple[ArraySpec, ...]) -> dict[str, ArraySpec]:
        """Return where the arrays of a shard lie: path relative to the artifact -> array."""
        video = video_name(shard.record)
        return {"/".join(("data", video, spec.name, *shard_parts(shard.index, len(spec.shape)))): spec for spec in specs}

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
            layout = self._layout(video_name(shard.record), spec)
            data, checksum = pack_rows(values, layout)
            (file,) = self.shard_files(shard, (spec,))
            self.place.write(file, *data)  # it is there when this returns: no receipt overtakes what it vouches for
            checksums[file] = checksum
        return checksums

    def read(self, record: VideoRecord, spec: ArraySpec, start: int, stop: int) -> Array:
        """Return elements ``start`` to ``stop`` along time of one array, which is as ``spec`` declares it.

        Raises
        ------
        MissingShardError
            A shard in that range has no receipt.
        DamagedShardError
            A shard's file is missing, its bytes fail the checksum of the codec, or the metadata declare another array.
        """
        length = spec.shape[0]
        if not 0 <= start <= stop <= length:
            raise IndexError(f"{self.stage}/{spec.name} of {record.id}: asked for {start}:{stop}, has {length} elements")
        folder = f"data/{video_name(record)}/{spec.name}"
        shards = self.shards(record, length)[start // self.shard_frames : -(-stop // self.shard_frames)]
        for shard in shards:
            self._require_receipt(shard, length)
        try:
            layout = self._open(folder, spec)
            values = np.empty((stop - start, *spec.shape[1:]), spec.dtype)
            for shard in shards:
                file = "/".join((folder, *shard_parts(shard.index, len(spec.shape))))
                self.place.require(file)
                first, last = max(start, shard.start), min(stop, shard.stop)
                if first == last:  # nothing was asked for
                    continue
                read_rows(self.place, file, layout, first - shard.start, values[first - start : last - start])
            return values
        except MemoryError:
            raise
        except Exception as error:  # codecs and zarr raise whatever they stumble over
            raise DamagedShardError(
                f"{self.place / folder}: elements {start}:{stop} have a receipt but cannot be read "
                f"({type(error).__name__}: {error}); run: stpa {self.made_by} --force --videos {quote(escape(record.id))}"
            ) from error

    def _open(self, folder: str, spec: ArraySpec) -> Layout:
        if folder not in self._opened:
            array = self.place.array(folder)
            layout = Layout(spec, self.shard_frames, is_packed(array))
            require_layout(array, layout.new_array()[0])
            self._opened[folder] = layout
        return self._opened[folder]

    def _require_receipt(self, shard: Shard, length: int) -> None:
        total = -(-length // self.shard_frames)
        name = receipt_name(shard.record, shard.index, total)
        if name in self._seen or self.has_receipt(name):
            self._seen.add(name)
            return
        raise MissingShardError(
            f"{self.name}: shard {shard.index + 1} of {total} of {shard.record.split} video {shard.record.id} "
            f"was never completed; run: stpa {self.made_by}"
        )


def _group_files() -> StoredFiles:
    files: StoredFiles = {}
    zarr.create_group(MemoryStore(files))
    return files


def _all_finite(values: Array) -> bool:
    if values.dtype == np.float16:  # seven times as fast: infinity and NaN have all bits of the exponent
        return bool((values.view(np.uint16) & 0x7C00 != 0x7C00).all())
    return bool(np.isfinite(values).all())


def _check_values(stage: str, shard: Shard, spec: ArraySpec, values: Array) -> None:
    expected = (shard.stop - shard.start, *spec.shape[1:])
    if values.shape != expected or values.dtype != np.dtype(spec.dtype):
        raise ValueError(
            f"{stage}/{spec.name} of {shard.record.id}, elements {shard.start}:{shard.stop}: expected {spec.dtype} "
            f"{expected}, the worker returned {values.dtype} {values.shape}"
        )
    if values.dtype.kind == "f" and not _all_finite(values):
        raise ValueError(
            f"{stage}/{spec.name} of {shard.record.id}, elements {shard.start}:{shard.stop}: expected finite values, "
            f"the worker returned {int((~np.isfinite(values)).sum())} that are not"
        )
