"""Opening video files: what OpenCV makes of them, and the rate that they claim."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2

from pipeline.contract import DataError
from pipeline.datasets.listing import RAW_SUFFIXES
from pipeline.datasets.remote import fetch

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: FFmpeg names no file; what is wrong with one is said here
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)

ONE_THREAD = (cv2.CAP_PROP_N_THREADS, 1)
"""Of FFmpeg's decoder. With several, pictures of damaged video are others every time that they are decoded; and where
processes share the cores out, they cost a fifth of decoding."""


def open_capture(path: Path, parameters: Sequence[int] = ()) -> cv2.VideoCapture:
    """Open a video file with FFmpeg only: other backends take ``%`` in a name for a pattern. ``parameters`` are OpenCV's.

    Raises
    ------
    DataError
        The file is missing, empty or no video.
    """
    try:
        with _utf8_name(fetch(path)) as name:
            capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, list(parameters))
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, found: {error.strerror}") from error
    if not capture.isOpened():
        found = _describe(path)
        raise DataError(f"{path}: expected a video that OpenCV can open, found {found}; copy or convert it anew")
    return capture


@contextmanager
def _utf8_name(path: Path) -> Iterator[str]:
    """Yield a name of a file that is UTF-8: OpenCV crashes on others, so such a file is opened through a number."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield str(path)


def _describe(path: Path) -> str:
    try:
        size = path.stat().st_size
    except OSError as error:
        return f"nothing readable ({error.strerror})"
    return f"{size} bytes that it cannot read" if size else "an empty file"


def capture_rate(capture: cv2.VideoCapture, path: Path) -> float:
    """Return the frames per second of an open video file; 0 where it does not say."""
    if path.suffix.lower() in RAW_SUFFIXES:  # FFmpeg makes up 25
        return 0.0
    rate = capture.get(cv2.CAP_PROP_FPS)
    return float(rate) if math.isfinite(rate) and rate > 0 else 0.0


def claimed_frames(capture: cv2.VideoCapture) -> int:
    """Return how many frames an open video file should have, by its header or by its duration and rate; 0 = not known."""
    claimed = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(claimed) if math.isfinite(claimed) and 0 < claimed < 2**31 else 0
