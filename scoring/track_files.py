"""Files of true and of detected regions, one per video; its name without the suffix is the video.

::

    tracks/01.txt         track,frame,x1,y1,x2,y2         0-based, the last row and column included ("boxes")
                          frame track cx cy w h           1-based, centres and sizes, as MERL publishes them ("merl")
    detections/01.txt     frame,x1,y1,x2,y2,score         the same pixels and frames as "boxes"

Suffixes are .txt or .csv; a first line that names these columns is skipped. An empty track file is a normal video; an empty
or missing detection file is one in which nothing was detected. UBnormal's folders: see :mod:`scoring.ubnormal_tracks`.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.contract import DataError
from pipeline.datasets.track_files import SUFFIXES, Form, Rows, check_boxes, read_rows, read_track_file, whole_numbers
from scoring.region_boxes import Detections, Tracks

DETECTION_COLUMNS = ("frame", "x1", "y1", "x2", "y2", "score")


def read_tracks(folder: Path, form: Form = "boxes") -> dict[str, Tracks]:
    """Return the true regions of each video of a folder, in the order of their names.

    Raises
    ------
    DataError
        There is no such file, or one is not of that form; file, line and what was found are named.
    """
    files = sorted(_files(folder, "track files"))
    return {video: tracks_of(read_track_file(path, form)) for video, path in files}


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


def _detections(path: Path) -> Detections:
    row_D6 = read_rows(path, DETECTION_COLUMNS, ",")
    frame_D = whole_numbers(row_D6[:, 0], "frame", path)
    check_boxes(row_D6[:, 1:5], path)
    return Detections(frame_D=frame_D, box_D4=row_D6[:, 1:5], score_D=row_D6[:, 5])


def tracks_of(row_R6: Rows) -> Tracks:
    """Return the true regions of one video from checked rows of track, frame and box."""
    number_R2 = row_R6[:, :2].astype(np.int64)
    return Tracks(track_R=number_R2[:, 0], frame_R=number_R2[:, 1], box_R4=row_R6[:, 2:])
