"""Files of true regions, one per test video, and what any text file of boxes must hold.

::

    track,frame,x1,y1,x2,y2        frames and pixels from 0, the last row and column included ("boxes")
    frame track cx cy w h          from 1, centres and sizes, as MERL publishes them ("merl")

Which of the two a file is, its commas tell. A first line that names these columns is skipped; an empty file is a normal
video.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError
from pipeline.datasets.remote import fetch

Form = Literal["boxes", "merl"]
Rows = NDArray[np.float64]
"""(R, 6): track, frame, x1, y1, x2, y2, counted from 0."""
SUFFIXES = (".txt", ".csv")
BOX_COLUMNS = ("track", "frame", "x1", "y1", "x2", "y2")
MERL_COLUMNS = ("frame", "track", "cx", "cy", "w", "h")


def no_rows() -> Rows:
    """Return the regions of a normal video."""
    return np.zeros((0, 6))


def find_track_file(folder: Path, video_id: str) -> Path | None:
    """Return the file of a video, or None."""
    return next((path for suffix in SUFFIXES if (path := folder / f"{video_id}{suffix}").is_file()), None)


def read_track_file(path: Path, form: Form | None = None) -> Rows:
    """Return the true regions of one video; without a form, commas tell which it is.

    Raises
    ------
    DataError
        The file cannot be read, a line is of another form, a box is turned over, or a track has two boxes in one frame.
    """
    if form is None:
        form = "boxes" if not (lines := read_lines(path)) or "," in lines[0] else "merl"
    if form == "boxes":
        row_R6 = read_rows(path, BOX_COLUMNS, ",", hint="; MERL's files have spaces (--format merl)")
    else:
        row_R6 = _from_merl(read_rows(path, MERL_COLUMNS, None))
    check_tracks(row_R6, path)
    return row_R6


def _from_merl(row_R6: Rows) -> Rows:
    """Convert centres and sizes, so that a box of width w covers w columns."""
    centre_R2, reach_R2 = row_R6[:, 2:4] - 1, (row_R6[:, 4:] - 1) / 2
    return np.hstack([row_R6[:, [1]], row_R6[:, [0]] - 1, centre_R2 - reach_R2, centre_R2 + reach_R2])


def check_tracks(row_R6: Rows, path: Path) -> None:
    """Raise DataError if a number is not whole, a box is turned over, or a track has two boxes in one frame."""
    number_R2 = np.stack([whole_numbers(row_R6[:, 0], "track", path), whole_numbers(row_R6[:, 1], "frame", path)], axis=1)
    check_boxes(row_R6[:, 2:], path)
    pair_K2, count_K = np.unique(number_R2, axis=0, return_counts=True)
    if (count_K > 1).any():
        track, frame = pair_K2[count_K > 1][0]
        raise DataError(f"{path}: expected one box of track {track} in frame {frame}, found {count_K.max()}")


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty; DataError if it cannot be read."""
    try:
        return [line for line in fetch(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a text file of boxes, cannot read it: {error}") from error


def read_rows(path: Path, columns: tuple[str, ...], delimiter: str | None, *, hint: str = "") -> NDArray[np.float64]:
    """Return the numbers of a text file, (R, C) float64; no rows for an empty file.

    Raises
    ------
    DataError
        The file cannot be read, or a line does not hold one finite number per column.
    """
    expected = (delimiter or " ").join(columns)
    lines = read_lines(path)
    if lines and [name.strip() for name in lines[0].split(delimiter)] == list(columns):
        lines = lines[1:]
    try:
        row_RC = np.loadtxt(lines, delimiter=delimiter, ndmin=2, comments=None) if lines else np.zeros((0, len(columns)))
    except ValueError as error:
        raise DataError(f"{path}: expected lines {expected}, found: {error}{hint}") from error
    if row_RC.shape[1] != len(columns):
        raise DataError(f"{path}: expected {len(columns)} columns {expected}, found {row_RC.shape[1]}{hint}")
    bad_R = np.flatnonzero(~np.isfinite(row_RC).all(axis=1))
    if len(bad_R):
        raise DataError(f"{path}: expected finite numbers, found {lines[bad_R[0]]!r} ({len(bad_R)} of {len(lines)} lines)")
    return np.asarray(row_RC, np.float64)


def whole_numbers(value_R: NDArray[np.float64], name: str, path: Path) -> NDArray[np.int64]:
    """Return the numbers; DataError if one is not whole or below 0."""
    bad_R = value_R[(value_R != np.round(value_R)) | (value_R < 0)]
    if len(bad_R):
        raise DataError(f"{path}: expected {name} to be whole numbers from 0, found {bad_R[0]:g} ({len(bad_R)} lines)")
    return value_R.astype(np.int64)


def check_boxes(box_R4: NDArray[np.float64], path: Path) -> None:
    """Raise DataError if a box is turned over."""
    bad_R = np.flatnonzero((box_R4[:, 2:] < box_R4[:, :2]).any(axis=1))
    if len(bad_R):
        found = ",".join(f"{value:g}" for value in box_R4[bad_R[0]])
        raise DataError(
            f"{path}: expected boxes x1,y1,x2,y2 with x1 <= x2 and y1 <= y2, found {found} ({len(bad_R)} of {len(box_R4)})"
        )


def check_frames(row_R6: Rows, num_frames: int, video_id: str, path: Path) -> None:
    """Raise DataError if a region lies behind the last frame."""
    if len(row_R6) and (last := row_R6[:, 1].max()) >= num_frames:
        raise DataError(
            f"{path}: expected tracks within the {num_frames} frames of video {video_id}, found frame {last:g} (from 0); "
            "tracks and frames must come from the same release"
        )
