"""What is seen of a video file when it is decoded: its first frame, or all of them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.contract import DataError
from pipeline.datasets import captures
from pipeline.datasets.clocks import Times, count_packets, packet_times
from pipeline.datasets.containers import counted_frames, lacks_frames
from pipeline.datasets.headers import Size, shown
from pipeline.datasets.images import to_rgb

FIRST_PACKETS = 3000
"""Whose times are looked at where not all frames are: those of the first two minutes, at 25 a second."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen of a video file."""

    frames: int
    """That were grabbed."""
    claimed: int
    """By its header; where that does not count them and not all were grabbed, by its packets. 0 = it does not say."""
    counted: bool
    """Whether its header counts them, so that ``claimed`` was not worked out from duration and rate."""
    exact: bool
    """Whether all frames were grabbed."""
    sizes: Counter[Size]
    wrong: list[str]
    fps: float
    time_T: Times
    """(T,) seconds at which the frames come, of all or of the first ones; empty where that cannot be told."""

    @property
    def is_damaged(self) -> bool:
        """Whether so many frames that its header counts cannot be decoded that it must be damaged."""
        return self.exact and bool(self.sizes) and self.counted and lacks_frames(self.claimed, self.frames)

    def problems(self, path: Path) -> Iterator[str]:
        """Yield what keeps it from being used, but for damage."""
        if not self.sizes and not self.wrong:
            yield f"{path}: expected a video, found no frame that can be decoded; copy or convert it anew"
        if len(self.sizes) > 1:
            yield f"{path}: expected one size for all frames, found {', '.join(map(shown, self.sizes))}; convert it"

    def remarks(self, path: Path) -> Iterator[str]:
        """Yield what is worth knowing, as far as all frames were grabbed."""
        if self.exact and self.sizes and self.claimed not in (0, self.frames):
            yield f"{path}: its header claims {self.claimed} frames, {self.frames} can be decoded and count"


def see_file(path: Path, *, deep: bool, count: bool) -> Seen:
    """Decode the first frame of a video file, with ``count`` grab them all, with ``deep`` decode them all.

    Raises
    ------
    DataError
        It cannot be opened.
    """
    capture = captures.open_capture(path)
    try:
        fps = captures.capture_rate(capture, path)
        counted = counted_frames(path, capture)
        claimed = counted or (captures.claimed_frames(capture) if count else count_packets(path) or 0)
        exact = count or not claimed
        times, sizes, wrong = _grab(capture, str(path), most=None if exact else 1, deep=deep)
    finally:
        capture.release()
    time_T = np.array(times) if exact else packet_times(path, FIRST_PACKETS)
    return Seen(
        frames=len(times),
        claimed=claimed,
        counted=counted > 0,
        exact=exact or not sizes,
        sizes=sizes,
        wrong=wrong,
        fps=fps,
        time_T=np.empty(0) if time_T is None else time_T,
    )


def _grab(
    capture: cv2.VideoCapture, name: str, *, most: int | None, deep: bool
) -> tuple[list[float], Counter[Size], list[str]]:
    """Grab frames, and convert the first one, or all of them; (seconds of the frames, sizes, problems)."""
    sizes: Counter[Size] = Counter()
    problems: list[str] = []
    times: list[float] = []
    while (most is None or len(times) < most) and capture.grab():
        frames = len(times)
        if deep or frames == 0:
            try:
                ok, frame_HWC = capture.retrieve()
                if not ok:
                    raise DataError(f"{name}, frame {frames}: cannot be decoded; convert the video anew")
                height, width = to_rgb(frame_HWC, f"{name}, frame {frames}").shape[:2]
                sizes[height, width] += 1
            except DataError as error:
                problems.append(str(error))
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    return times, sizes, problems
