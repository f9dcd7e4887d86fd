"""Flow that was made elsewhere: files in a folder per video, as ``stpa flows --export`` leaves them.

    FOLDER/train-Train001/000000.flo    from the first frame of the training video Train001 to the second
                          000001.flo
    FOLDER/test-Test001/000000.flo      or .png, KITTI's 16-bit form

A folder is called like the artifact's for the same video: split, hyphen, id of the video, quoted where it has to be. The
number is the last one in a file's name; it counts from wherever the first begins, without a gap. Imports no OpenCV.
"""

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.files import safe_name
from pipeline.config import ConfigError, FlowsSettings, FramesSettings
from pipeline.contract import DataError, VideoRecord

if TYPE_CHECKING:
    from pipeline.models.flow_files import FlowFormat

SUFFIXES = (".flo", ".png")
PROPORTIONS = 0.05
"""By which the proportions of flow may differ from those of the frames: some programs pad or cut to a multiple of 8."""

LARGEST = 60_000.0
"""Pixels; half precision, in which flow is stored, ends a little above."""


def require_folder(settings: FlowsSettings) -> Path:
    """Return the folder of the settings; ConfigError if it is not given, is no folder or holds no flow."""
    if settings.folder is None:
        raise ConfigError("flows.estimator = files: expected flows.folder, the folder that holds them, found none")
    folder = settings.folder.expanduser()
    if not folder.is_dir():
        raise ConfigError(f"flows.folder: expected a folder, found none at {folder}")
    if not _all_files(folder):
        raise ConfigError(
            f"flows.folder: expected files SPLIT-VIDEO/NUMBER{' or '.join(SUFFIXES)}, such as `stpa flows --export` leaves, "
            f"found none in {folder}"
        )
    return folder


def folder_identity(settings: FlowsSettings) -> str:
    """Return a hash of the names and content of all flow files, part of the key; ``missing`` where there are none.

    All of them are read for it, once per process: about a second per gigabyte where the disk is fast.
    """
    try:
        folder = require_folder(settings)
    except ConfigError:
        return "missing"  # nothing is made under such a key: the stage's check raises before
    stats = tuple((path.relative_to(folder).as_posix(), path.stat()) for path in _all_files(folder))
    return _content(folder, tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


@lru_cache(maxsize=8)
def _content(folder: Path, signature: tuple[tuple[str, int, int], ...]) -> str:
    total = hashlib.sha256()
    for name, _, _ in signature:
        with (folder / name).open("rb") as stream:
            total.update(f"{name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def _all_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/*") if path.suffix in SUFFIXES and path.is_file())


class FlowFolder:
    """Reads the flow of one video after another, at the size of the stored frames."""

    def __init__(self, folder: Path, frames: FramesSettings) -> None:
        self._folder = folder
        self._frames = frames
        self._record: VideoRecord | None = None
        self._files: list[Path] = []

    def read(self, record: VideoRecord, start: int, stop: int) -> NDArray[np.float16]:
        """Return elements (stop - start, 2, H, W) float16, pixels per frame; vectors are rescaled with their fields.

        Raises
        ------
        DataError
            The video has no folder, or another number of files than pairs of frames; a file is damaged, of another size than
            the frames' proportions allow, or leaves a vector out.
        """
        from pipeline.models.flow import resize_flow

        if record != self._record:
            self._files, self._record = self._find(record), record
        flows = []
        for path in self._files[start:stop]:
            flow_2HW = _format(path).read(path)
            self._check(path, flow_2HW, record)
            flows.append(resize_flow(flow_2HW[None], self._frames.height, self._frames.width)[0])
        return np.stack(flows).astype(np.float16)

    def _find(self, record: VideoRecord) -> list[Path]:
        """Return the files of a video by their numbers."""
        folder = self._folder / safe_name(record.split, record.id)
        if not folder.is_dir():
            raise DataError(f"{folder}: expected the flow of {record.split} video {record.id}, found no such folder")
        found = {suffix: [path for path in folder.iterdir() if path.suffix == suffix] for suffix in SUFFIXES}
        files = [path for paths in found.values() for path in paths]
        expected = record.num_frames - 1
        if all(found.values()) or len(files) != expected:
            counts = " and ".join(f"{len(paths)} {suffix}" for suffix, paths in found.items())
            raise DataError(
                f"{folder}: expected {expected} files of one kind, one for each pair of the video's {record.num_frames} "
                f"frames, found {counts}"
            )
        numbers = {_number(path): path for path in files}
        first = min(numbers)
        if sorted(numbers) != list(range(first, first + expected)):
            raise DataError(
                f"{folder}: expected files numbered {first} to {first + expected - 1}, found a gap or a number twice"
            )
        return [numbers[number] for number in sorted(numbers)]

    def _check(self, path: Path, flow_2HW: NDArray[np.float32], record: VideoRecord) -> None:
        height, width = flow_2HW.shape[1:]
        sizes = ((record.height, record.width), (self._frames.height, self._frames.width))
        if not any(abs(height * wide / (width * high) - 1) <= PROPORTIONS for high, wide in sizes):
            (native_high, native_wide), (high, wide) = sizes
            raise DataError(
                f"{path}: expected flow of whole frames, in the proportions of the video ({native_high} x {native_wide}) or "
                f"of the stored frames ({high} x {wide}), found {height} x {width}"
            )
        wrong = int((~(np.abs(flow_2HW) <= LARGEST)).any(axis=0).sum())  # not a number is not below either
        if wrong:
            raise DataError(
                f"{path}: expected a vector of up to {LARGEST:.0f} px at every pixel, found {wrong} that are unknown or "
                "longer; fill them in first"
            )


def _number(path: Path) -> int:
    digits = re.findall(r"[0-9]+", path.stem)
    if not digits:
        raise DataError(f"{path}: expected a number in the name, found none")
    return int(digits[-1])


def _format(path: Path) -> "FlowFormat":
    from pipeline.models.flow_files import FORMATS

    return next(kind for kind in FORMATS.values() if kind.suffix == path.suffix)
