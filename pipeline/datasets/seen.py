"""What is seen of a video file when it is decoded: its first frame, or all of them."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from pipeline.contract import DataError
from pipeline.datasets import captures
from pipeline.datasets.headers import Size, shown
from pipeline.datasets.images import to_rgb

UNEVEN_SECONDS = 0.5
"""By which the time of the last frame may differ from that at a constant rate."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen of a video file."""

    frames: int
    """That were grabbed."""
    claimed: int
    """By its header; 0 = it does not say."""
    exact: bool
    """Whether all frames were grabbed."""
    sizes: Counter[Size]
    wrong: list[str]
    fps: float
    lasted: float
    """Seconds at which the last frame was grabbed."""

    def problems(self, path: Path) -> Iterator[str]:
        """Yield what keeps it from being used."""
        if not self.sizes and not self.wrong:
            yield f"{path}: expected a video, found no frame that can be decoded; copy or convert it anew"
        if len(self.sizes) > 1:
            yield f"{path}: expected one size for all frames, found {', '.join(map(shown, self.sizes))}; convert it"

    def remarks(self, path: Path) -> Iterator[str]:
        """Yield what is worth knowing, as far as all frames were grabbed."""
        if not self.exact or not self.sizes:
            return
        if self.claimed not in (0, self.frames):
            yield f"{path}: its header claims {self.claimed} frames, {self.frames} can be decoded and count"
        if self.fps and abs(self.lasted - (self.frames - 1) / self.fps) > max(UNEVEN_SECONDS, 1 / self.fps):
            yield (
                f"{path}: expected its {self.frames} frames to last {self.frames / self.fps:.1f} s at {self.fps:g} a "
                f"second, found {self.lasted:.1f} s: they are not evenly spaced, so that seconds in tables are off by up to "
                "the difference; give frames"
            )


def see_file(path: Path, *, deep: bool, count: bool) -> Seen:
    """Decode the first frame of a video file, with ``count`` grab them all, with ``deep`` decode them all.

    Raises
    ------
    DataError
        It cannot be opened.
    """
    capture = captures.open_capture(path)
    try:
        fps = captures.capture_rate(capture)
        header = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        claimed = int(header) if math.isfinite(header) and 0 < header < 2**31 else 0
        exact = count or not claimed
        frames, sizes, wrong = _grab(capture, str(path), most=None if exact else 1, deep=deep)
        lasted = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    finally:
        capture.release()
    return Seen(
        frames=frames, claimed=claimed, exact=exact or not sizes, sizes=sizes, wrong=wrong, fps=fps, lasted=lasted
    )


def _grab(capture: cv2.VideoCapture, name: str, *, most: int | None, deep: bool) -> tuple[int, Counter[Size], list[str]]:
    """Count frames, and convert the first one, or all of them; (frames, sizes, problems)."""
    sizes: Counter[Size] = Counter()
    problems: list[str] = []
    frames = 0
    while (most is None or frames < most) and capture.grab():
        if deep or frames == 0:
            try:
                ok, frame_HWC = capture.retrieve()
                if not ok:
                    raise DataError(f"{name}, frame {frames}: cannot be decoded; convert the video anew")
                height, width = to_rgb(frame_HWC, f"{name}, frame {frames}").shape[:2]
                sizes[height, width] += 1
            except DataError as error:
                problems.append(str(error))
        frames += 1
    return frames, sizes, problems
