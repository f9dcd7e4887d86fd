"""UBnormal's annotations as tracks.

::

    Scene1/abnormal_scene_1_scenario_2_annotations/
        abnormal_scene_1_scenario_2_tracks.txt         object,start,end     frames from 0, the last included
        abnormal_scene_1_scenario_2_new_tracks.txt     the same, corrected: preferred where it exists
        abnormal_scene_1_scenario_2_0000_gt.png        id map: the value of a pixel is the object there

A region is the box of an object's pixels in one frame of its track; frames in which it cannot be seen have none. Videos
called ``normal_...`` have no annotations and no true region.
"""

import re
from pathlib import Path

import numpy as np

from pipeline.contract import DataError
from pipeline.datasets.track_files import check_tracks, read_rows
from pipeline.datasets.ubnormal import read_ids
from scoring.region_boxes import Tracks
from scoring.track_files import tracks_of

SUFFIX = "_annotations"
COLUMNS = ("object", "start", "end")
NORMAL = "normal_"


def read_ubnormal(folder: Path) -> dict[str, Tracks]:
    """Return the true regions of every video that has annotations at any depth of a folder.

    Raises
    ------
    DataError
        There are none, or those of a video are incomplete; file, expected and found are named.
    """
    found = sorted(path for path in folder.rglob(f"*{SUFFIX}") if path.is_dir())
    if not found:
        raise DataError(f"{folder}: expected UBnormal's folders VIDEO{SUFFIX}/, found none at any depth")
    return {path.name.removesuffix(SUFFIX): read_annotations(path) for path in found}


def read_annotations(folder: Path) -> Tracks:
    """Return the true regions of one video from its folder of annotations; raises DataError as :func:`read_ubnormal`."""
    video = folder.name.removesuffix(SUFFIX)
    files = [folder / f"{video}_{name}.txt" for name in ("new_tracks", "tracks")]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        raise DataError(f"video {video}: expected {files[1]} or {files[0].name}, found neither")
    object_K3 = read_rows(path, COLUMNS, ",").astype(np.int64)
    maps = _id_maps(folder, video)
    rows = []
    for number, start, end in object_K3:
        missing = [frame for frame in range(start, end + 1) if frame not in maps]
        if missing:
            raise DataError(
                f"{path}: expected an id map of each frame from {start} to {end} of video {video}, "
                f"found none of {len(missing)} of them, first {video}_{missing[0]:04d}_gt.png; the folder holds {len(maps)}"
            )
        rows += [(number, frame) for frame in range(start, end + 1)]
    return _boxes(rows, maps, path)


def _id_maps(folder: Path, video: str) -> dict[int, Path]:
    names = re.compile(re.escape(video) + r"_(\d+)_gt\.png")
    return {int(found[1]): path for path in sorted(folder.iterdir()) if (found := names.fullmatch(path.name))}


def _boxes(rows: list[tuple[int, int]], maps: dict[int, Path], path: Path) -> Tracks:
    kept: list[tuple[float, ...]] = []
    last, id_HW = -1, np.zeros((0, 0), np.int32)
    for number, frame in sorted(set(rows), key=lambda row: row[::-1]):  # each map is read once
        if frame != last:
            last, id_HW = frame, read_ids(maps[frame])
        y_P, x_P = np.nonzero(id_HW == number)
        if len(y_P):
            kept.append((number, frame, x_P.min(), y_P.min(), x_P.max(), y_P.max()))
    row_R6 = np.array(kept, np.float64).reshape(-1, 6)
    check_tracks(row_R6, path)
    return tracks_of(row_R6)
