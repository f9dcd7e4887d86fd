"""Files of true regions, one per test video.

::

    track,frame,x1,y1,x2,y2        frames and pixels from 0, the last row and column included
    frame track cx cy w h          from 1, centres and sizes, as MERL publishes them

Which of the two a file is, its commas tell. A first line that names these columns is skipped; an empty file is a normal
video.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError
from pipeline.datasets.remote import fetch

Rows = NDArray[np.float64]
"""(R, 6): track, frame, x1, y1, x2, y2, counted from 0."""
SUFFIXES = (".txt", ".csv")
_BOXES = ("track", "frame", "x1", "y1", "x2", "y2")
_MERL = ("frame", "track", "cx", "cy", "w", "h")


def no_rows() -> Rows:
    """Return the regions of a normal video."""
    return np.zeros((0, 6))


def find_track_file(folder: Path, video_id: str) -> Path | None:
    """Return the file of a video, or None."""
    return next((path for suffix in SUFFIXES if (path := folder / f"{video_id}{suffix}").is_file()), None)


def read_track_file(path: Path) -> Rows:
    """Return the true regions of one video.

    Raises
    ------
    DataError
        The file cannot be read, a line is of another form, a box is turned over, or a track has two boxes in one frame.
    """
    try:
        lines = [line.strip() for line in fetch(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a text file of tracks, cannot read it: {error}") from error
    commas = bool(lines) and "," in lines[0]
    columns = _BOXES if commas else _MERL
    if lines and [cell.strip() for cell in lines[0].split("," if commas else None)] == list(columns):
        lines = lines[1:]
    rows = [_parse(line, columns, path, commas=commas) for line in lines]
    row_R6 = np.array(rows, np.float64).reshape(-1, 6)
    _check(row_R6, path)
    return row_R6


def _parse(line: str, columns: tuple[str, ...], path: Path, *, commas: bool) -> tuple[float, ...]:
    try:
        values = [float(cell) for cell in line.split("," if commas else None)]
        if len(values) != 6 or not np.isfinite(values).all():
            raise ValueError
    except ValueError:
        expected = ("," if commas else " ").join(columns)
        raise DataError(f"{path}: expected lines {expected}, found {line!r}; see docs/datasets.md") from None
    if commas:
        return tuple(values)
    frame, track, x, y, width, height = values
    reach_x, reach_y = (width - 1) / 2, (height - 1) / 2  # so that a box of width w covers w columns
    return track, frame - 1, x - 1 - reach_x, y - 1 - reach_y, x - 1 + reach_x, y - 1 + reach_y


def _check(row_R6: Rows, path: Path) -> None:
    number_R2 = row_R6[:, :2]
    if (bad_R := (number_R2 < 0).any(axis=1) | (number_R2 != np.round(number_R2)).any(axis=1)).any():
        track, frame = number_R2[bad_R][0]
        raise DataError(f"{path}: expected whole numbers of track and frame, found track {track:g}, frame {frame:g}")
    if (bad_R := (row_R6[:, 4:] < row_R6[:, 2:4]).any(axis=1)).any():
        found = ",".join(f"{value:g}" for value in row_R6[bad_R][0, 2:])
        raise DataError(f"{path}: expected boxes with x1 <= x2 and y1 <= y2, found {found} ({bad_R.sum()} lines)")
    pair_K2, count_K = np.unique(number_R2, axis=0, return_counts=True)
    if (count_K > 1).any():
        track, frame = pair_K2[count_K > 1][0]
        raise DataError(f"{path}: expected one box of track {track:g} in frame {frame:g}, found {count_K.max()}")


def check_frames(row_R6: Rows, num_frames: int, video_id: str, path: Path) -> None:
    """Raise DataError if a region lies behind the last frame."""
    if len(row_R6) and (last := row_R6[:, 1].max()) >= num_frames:
        raise DataError(
            f"{path}: expected tracks within the {num_frames} frames of video {video_id}, found frame {last:g} (from 0); "
            "tracks and frames must come from the same release"
        )
