"""Error maps of every scored frame on disk, a byte per cell: what the report shows over the frames.

maps.zarr/              attributes: videos (ids), protocol (whose frames these are)
  <place>/              attributes: maps (names, in order); <place> is that of the video in the list of ids
          frame         (N,) int32, 0-based
          <name>        (N, h, w) uint8, one cell per 4 x 4 stored pixels, see :func:`to_bytes`
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from pipeline.artifacts.bounded import read_whole
from pipeline.contract import Array

NAME = "maps.zarr"
STEPS_PER_DOUBLING = 32.0
FRAMES_PER_CHUNK = 128
LEAST_RATIO = 1e-6  # a perfect reconstruction has no logarithm


def from_bytes(byte: Array) -> NDArray[np.float16]:
    """Return the ratio that a byte of :func:`to_bytes` stands for, 1..250, to two percent."""
    return np.asarray(np.exp2(byte.astype(np.float32) / STEPS_PER_DOUBLING), np.float16)


def to_bytes(ratio: Array) -> NDArray[np.uint8]:
    """Return how many times more than in training an error is, on a log scale: 0 = not more, 32 = twice, 255 = 250 times."""
    doublings = np.log2(np.maximum(ratio.astype(np.float32), LEAST_RATIO))
    return np.clip(np.rint(STEPS_PER_DOUBLING * doublings), 0, 255).astype(np.uint8)


class MapWriter:
    """Writes the maps of one video after another, piece by piece, so that not even those of one need be in memory."""

    def __init__(self, out: Path, protocol: str) -> None:
        self._path = out / NAME
        self._protocol = protocol
        self._videos: list[str] = []

    @cached_property
    def _group(self) -> zarr.Group:
        """Nothing is created before there is something to write."""
        group = zarr.open_group(self._path, mode="w-", zarr_format=3)
        group.attrs["protocol"] = self._protocol
        return group

    def write(self, video: str, frame_index_N: NDArray[np.int64], maps: Mapping[Any, Array]) -> None:
        """Write maps of a video, (N, h, w) each, errors relative to training (:class:`scoring.measure.Measured`).

        A long video comes in pieces, one after another; frames of another video end it.
        """
        if not self._videos or self._videos[-1] != video:
            self._videos.append(video)
            group = self._group.create_group(str(len(self._videos) - 1), attributes={"maps": list(maps)})
            self._group.attrs["videos"] = self._videos
            write = _write
        else:
            group = self._last
            write = _append
        write(group, "frame", frame_index_N.astype(np.int32), ("frame",))
        for name, map_Nhw in maps.items():
            write(group, name, to_bytes(map_Nhw), ("frame", "y", "x"))

    def read(self, row: int) -> dict[str, NDArray[np.float16]]:
        """Return the maps of one row of the video written last, (h, w) each, no less than 1: what training shows is 1."""
        return {name: from_bytes(np.asarray(array[row])) for name, array in _maps_of(self._last).items()}

    @property
    def _last(self) -> zarr.Group:
        group = self._group[str(len(self._videos) - 1)]
        assert isinstance(group, zarr.Group)
        return group


def read_maps(folder: Path, video: str) -> tuple[NDArray[np.int32], dict[str, NDArray[np.uint8]]]:
    """Return the frames (N,) of a video and their maps (N, h, w), uint8 as :func:`to_bytes` makes them.

    Raises
    ------
    KeyError
        The evaluation in ``folder`` holds no maps of this video.
    """
    store = zarr.open_group(folder / NAME, mode="r")
    videos: Any = store.attrs.get("videos", [])  # JSON: zarr cannot know that it is a list of ids
    if video not in videos:
        raise KeyError(f"{folder / NAME}: no error maps of test video {video}")
    group = store[str(videos.index(video))]
    assert isinstance(group, zarr.Group)
    frame_index_N = group["frame"]
    assert isinstance(frame_index_N, zarr.Array)
    return read_whole(frame_index_N), {name: read_whole(array) for name, array in _maps_of(group).items()}


def _maps_of(group: zarr.Group) -> "dict[str, zarr.Array[Any]]":
    """Return the arrays of maps in the order in which they were written: Zarr lists them in any."""
    found = {name: array for name, array in group.arrays() if name != "frame"}
    order: Any = group.attrs.get("maps", sorted(found))
    return {name: found[name] for name in order}


def _write(group: zarr.Group, name: str, values: Array, dimensions: tuple[str, ...]) -> None:
    group.create_array(
        name,
        data=values,
        chunks=(min(FRAMES_PER_CHUNK, max(1, len(values))), *values.shape[1:]),
        compressors=ZstdCodec(level=3, checksum=True),
        dimension_names=dimensions,
    )


def _append(group: zarr.Group, name: str, values: Array, dimensions: tuple[str, ...]) -> None:
    array = group[name]
    assert isinstance(array, zarr.Array)
    array.append(values)
