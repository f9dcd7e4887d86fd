"""Files of true and of detected regions, one per video; its name without the suffix is the video.

::

    tracks/01.txt         track,frame,x1,y1,x2,y2         0-based, the last row and column included ("boxes")
                          frame track cx cy w h           1-based, centres and sizes, as MERL publishes them ("merl")
    detections/01.txt     frame,x1,y1,x2,y2,score         the same pixels and frames as "boxes"

Suffixes are .txt or .csv; a first line that names these columns is skipped. An empty track file is a normal video; an empty
or missing detection file is one in which nothing was detected. UBnormal's folders: see :mod:`scoring.ubnormal_tracks`.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError
from scoring.region_boxes import Detections, Tracks

SUFFIXES = (".txt", ".csv")
BOX_COLUMNS = ("track", "frame", "x1", "y1", "x2", "y2")
MERL_COLUMNS = ("frame", "track", "cx", "cy", "w", "h")
DETECTION_COLUMNS = ("frame", "x1", "y1", "x2", "y2", "score")

Rows = NDArray[np.float64]


def read_tracks(folder: Path, layout: str = "boxes") -> dict[str, Tracks]:
    """Return the true regions of each video of a folder, in the order of their names.

    Raises
    ------
    DataError
        There is no such file, or one is not as the layout says; file, line and what was found are named.
    """
    read = TRACK_READERS[layout]
    return {video: read(path) for video, path in sorted(_files(folder, "track files"))}


def read_detections(folder: Path) -> dict[str, Detections]:
    """Return the detections of each video, in the order in which the folder lists its files.

    That is the order of equal scores in the reference program, which sorts no names; it differs from disk to disk.

    Raises
    ------
    DataError
        As :func:`read_tracks`.
    """
    return {video: _detections(path) for video, path in _files(folder, "detection files")}


def _files(folder: Path, what: str) -> Iterator[tuple[str, Path]]:
    """Yield video and file, also from folders below, of ids with a slash in them."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of {what}, found none there")
    seen: dict[str, Path] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                video = path.relative_to(folder).with_suffix("").as_posix()
                if video in seen:
                    raise DataError(f"{path}: expected one file of video {video}, found {seen[video].name} too; remove one")
                seen[video] = path
                yield video, path
    if not seen:
        raise DataError(f"{folder}: expected {what} (one {' or '.join(SUFFIXES)} per video), found none")


def _boxes(path: Path) -> Tracks:
    row_R6 = read_rows(path, BOX_COLUMNS, ",", hint="; for MERL's files use --format merl")
    return make_tracks(row_R6[:, 0], row_R6[:, 1], row_R6[:, 2:], path)


def _merl(path: Path) -> Tracks:
    """Convert centres and sizes, so that a box of width w covers w columns."""
    row_R6 = read_rows(path, MERL_COLUMNS, None)
    centre_R2, reach_R2 = row_R6[:, 2:4] - 1, (row_R6[:, 4:] - 1) / 2
    box_R4 = np.hstack([centre_R2 - reach_R2, centre_R2 + reach_R2])
    return make_tracks(row_R6[:, 1], row_R6[:, 0] - 1, box_R4, path)


TRACK_READERS: Mapping[str, Callable[[Path], Tracks]] = MappingProxyType({"boxes": _boxes, "merl": _merl})


def _detections(path: Path) -> Detections:
    row_D6 = read_rows(path, DETECTION_COLUMNS, ",")
    frame_D = _whole(row_D6[:, 0], "frame", path)
    _check_boxes(row_D6[:, 1:5], path)
    return Detections(frame_D=frame_D, box_D4=row_D6[:, 1:5], score_D=row_D6[:, 5])


def make_tracks(track_R: Rows, frame_R: Rows, box_R4: Rows, path: Path) -> Tracks:
    """Return the checked regions of one video.

    Raises
    ------
    DataError
        A number is not whole, a box is turned over, or a track has two boxes in one frame.
    """
    tracks = Tracks(track_R=_whole(track_R, "track", path), frame_R=_whole(frame_R, "frame", path), box_R4=box_R4)
    _check_boxes(box_R4, path)
    pair_K2, count_K = np.unique(np.stack([tracks.track_R, tracks.frame_R], axis=1), axis=0, return_counts=True)
    if (count_K > 1).any():
        track, frame = pair_K2[count_K > 1][0]
        raise DataError(f"{path}: expected one box of track {track} in frame {frame}, found {count_K.max()}")
    return tracks


def read_rows(path: Path, columns: tuple[str, ...], delimiter: str | None, *, hint: str = "") -> Rows:
    """Return the numbers of a text file, (R, C) float64; no rows for an empty file.

    Raises
    ------
    DataError
        The file cannot be read, or a line does not hold one finite number per column.
    """
    expected = (delimiter or " ").join(columns)
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        if lines and [name.strip() for name in lines[0].split(delimiter)] == list(columns):
            lines = lines[1:]
        row_RC = np.loadtxt(lines, delimiter=delimiter, ndmin=2, comments=None) if lines else np.zeros((0, len(columns)))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a text file of lines {expected}, cannot read it: {error}") from error
    except ValueError as error:
        raise DataError(f"{path}: expected lines {expected}, found: {error}{hint}") from error
    if row_RC.shape[1] != len(columns):
        raise DataError(f"{path}: expected {len(columns)} columns {expected}, found {row_RC.shape[1]}{hint}")
    bad_R = np.flatnonzero(~np.isfinite(row_RC).all(axis=1))
    if len(bad_R):
        raise DataError(f"{path}: expected finite numbers, found {lines[bad_R[0]]!r} ({len(bad_R)} of {len(lines)} lines)")
    return np.asarray(row_RC, np.float64)


def _whole(value_R: Rows, name: str, path: Path) -> NDArray[np.int64]:
    bad_R = value_R[(value_R != np.round(value_R)) | (value_R < 0)]
    if len(bad_R):
        raise DataError(f"{path}: expected {name} to be whole numbers from 0, found {bad_R[0]:g} ({len(bad_R)} lines)")
    return value_R.astype(np.int64)


def _check_boxes(box_R4: Rows, path: Path) -> None:
    bad_R = np.flatnonzero((box_R4[:, 2:] < box_R4[:, :2]).any(axis=1))
    if len(bad_R):
        found = ",".join(f"{value:g}" for value in box_R4[bad_R[0]])
        raise DataError(
            f"{path}: expected boxes x1,y1,x2,y2 with x1 <= x2 and y1 <= y2, found {found} ({len(bad_R)} of {len(box_R4)})"
        )
