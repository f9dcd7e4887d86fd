"""When the frames of a recording were taken: evenly, at the rate that its container claims, or each at a time of its own.

Phones and IP cameras often record at a variable rate. The packets of a file tell the time of every frame, and are read
without being decoded: at the speed of the disk, a thousandth of the time of decoding.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError, Video
from pipeline.datasets.captures import capture_rate, open_capture
from pipeline.datasets.remote import fetch

Times = NDArray[np.float64]

ROUNDING = 1e-6
"""Of a frame: 0.28 s x 25 must be frame 7, whatever floating point says."""
EVEN = 0.5
"""Of a frame: by which times may differ from those at the claimed rate; containers round them, cameras jitter."""
GAP_SECONDS = 1.0
"""Between two frames: what lies between was not recorded, unless frames come that slowly."""
MOST_REORDERED = 64  # frames; packets come in another order than frames, but not by more than codecs allow
RAW = (cv2.CAP_PROP_FORMAT, -1)  # packets as they are in the file


@dataclass(frozen=True, eq=False, kw_only=True)
class Clock:
    """The times of the frames of one recording, counted from its first frame."""

    rate: float
    """Frames per second, where they do not come evenly on average while it recorded; 0: the files do not say."""
    time_T: Times | None = None
    """(T,) seconds, rising; None: frames come evenly."""

    def frame_from(self, seconds: float) -> int:
        """Return the first frame that was not taken before a moment; behind the end, which it would be."""
        if self.time_T is None:
            return ceil(seconds * self.rate - ROUNDING)
        if seconds > self.time_T[-1]:
            return len(self.time_T) - 1 + ceil((seconds - float(self.time_T[-1])) * self.rate - ROUNDING)
        return int(np.searchsorted(self.time_T, seconds - ROUNDING / self.rate))

    def time_of(self, frame: int) -> float:
        """Return when a frame was taken, in seconds; of the one behind the last, when it would have been."""
        if self.time_T is None:
            return frame / self.rate
        beyond = max(0, frame - len(self.time_T) + 1)
        return float(self.time_T[frame - beyond]) + beyond / self.rate

    def shown_at(self, seconds_N: Times) -> NDArray[np.int64]:
        """Return the frames that were the last ones at these moments, (N,)."""
        assert self.time_T is not None  # of even frames, none is asked for by its time
        return np.asarray(np.searchsorted(self.time_T, seconds_N + ROUNDING / self.rate, side="right") - 1, np.int64)


def clock_of(video: Video) -> Clock:
    """Return the clock of a recording: even for folders of images and where a container does not tell times.

    Raises
    ------
    DataError
        The file cannot be opened.
    """
    if video.is_folder:
        return Clock(rate=0.0)
    path = fetch(video.files[0])
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, found: {error.strerror}") from error
    return _clock_of_file(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=16)  # of three hours: 2 MB
def _clock_of_file(path: Path, size: int, changed: int) -> Clock:
    """Read the packets of a file; size and date tell versions of it apart."""
    rate, first = _begin(path)
    return clock_from(_decodable(packet_times(path), first), rate)


def count_packets(path: Path) -> int | None:
    """Return how many frames the packets of a video file make, without decoding them; None where they cannot be told.

    Where packets are damaged, fewer can be decoded.

    Raises
    ------
    DataError
        The file cannot be opened.
    """
    time_T = _decodable(packet_times(path), _begin(path)[1])
    return None if time_T is None else len(time_T)


def _decodable(time_T: Times | None, first: float) -> Times | None:
    """Return the times from the ``first`` frame on: what comes before the first key frame cannot be decoded."""
    return None if time_T is None else time_T[time_T > first - EVEN / 1000]


def _begin(path: Path) -> tuple[float, float]:
    """Return the claimed rate, and the time of the first frame that can be decoded, in seconds."""
    capture = open_capture(path)
    capture.grab()
    found = capture_rate(capture, path), capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    capture.release()
    return found


def packet_times(path: Path, most: int | None = None) -> Times | None:
    """Return the times of the packets of a video file in order, in seconds; None where they cannot be told.

    Of the first ``most`` packets, those that come before the last in time: others may still belong between.
    """
    try:
        capture = open_capture(path, RAW)
    except DataError:
        return None  # FFmpeg cannot cut this codec into packets
    found: list[float] = []
    while (most is None or len(found) < most) and capture.grab():
        found.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    capture.release()
    time_T = np.array(found) / 1000  # milliseconds
    order_T = np.argsort(time_T, kind="stable")
    if len(order_T) < 2 or np.abs(order_T - np.arange(len(order_T))).max() > MOST_REORDERED:
        return None  # the clock was set back in between, or there is none
    ordered_T = time_T[order_T]
    return ordered_T[:-MOST_REORDERED] if len(found) == most else ordered_T


def clock_from(time_T: Times | None, rate: float) -> Clock:
    """Return a clock of the times of frames, which is even where these are those at the claimed rate, or do not rise."""
    if time_T is None or len(time_T) < 2 or np.diff(time_T).min() <= 0:
        return Clock(rate=rate)
    since_T = time_T - time_T[0]
    mean = mean_rate(since_T)
    if is_even(since_T, rate or mean):
        return Clock(rate=rate or mean)
    return Clock(rate=mean, time_T=since_T)


def is_even(time_T: Times, rate: float) -> bool:
    """Say whether times, in seconds from 0, are those of frames at a constant rate."""
    return float(np.abs(time_T - np.arange(len(time_T)) / rate).max()) <= EVEN / rate


def mean_rate(time_T: Times) -> float:
    """Return frames per second, gaps in which nothing was recorded left aside."""
    step_T = np.diff(time_T)
    return float(1 / step_T[step_T <= longest_step(step_T)].mean())


def longest_step(step_T: Times) -> float:
    """Return the seconds between two frames above which there is a gap, of all that lie between frames of a recording."""
    return max(GAP_SECONDS, 3 * float(np.median(step_T)))
