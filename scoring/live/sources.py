"""What can be scored: video files, folders of frames, streams. Each gives its frames in blocks, in order."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from threading import Event

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Cut, DataError, Video
from pipeline.datasets.captures import open_capture
from pipeline.datasets.clocks import Clock, clock_of
from pipeline.datasets.containers import check_whole
from pipeline.datasets.cuts import count_kept, rate_of
from pipeline.datasets.listing import where
from pipeline.datasets.reader import open_frames
from scoring.live.watch import Watch

Frames = NDArray[np.uint8]
BLOCK_BYTES = 64 * 2**20
BLOCK_FRAMES = 32
MOST = 1e9


@dataclass(frozen=True, kw_only=True)
class Block:
    """Consecutive frames.

    ``frames_THWC`` (T, H, W, 3) uint8 RGB at native size, T at least 1; ``first`` is the number of the first one, from 0;
    ``time_T`` (T,) float64, seconds since the video or stream began, NaN where nothing says so.
    """

    frames_THWC: Frames = field(repr=False)
    first: int
    time_T: NDArray[np.float64]
    fresh: bool = False
    """Nothing that came before belongs to it: the video begins, or frames between are lost."""
    urgent: bool = False
    """To be scored now, though a larger piece would cost less."""
    arrived: float = 0.0
    """When its first frame was there, by :func:`time.monotonic`."""


class Source(ABC):
    """One video or stream. What goes wrong after frames were given out ends it and is kept as ``problem``."""

    live: bool = False
    """Frames come at their own pace and are lost if nobody takes them."""
    fps: float = 0.0
    """Frames per second; 0 = unknown. What a file says goes before what was set."""
    thin_to: float | None = None
    """Frames per second on which the model was trained; the others are left out, and those that are scored are counted."""
    expected: int = 0
    """Frames, as far as the file says; 0 = unknown."""
    problem: str | None = None

    def __init__(self, name: str, shown: str) -> None:
        self.name = name
        """The name of what is written about it, without suffix."""
        self.shown = shown
        """What it is called in messages."""

    @abstractmethod
    def blocks(self, watch: Watch, stop: Event) -> Iterator[Block]:
        """Yield its frames until it ends or ``stop`` is set; a block never lies across a gap.

        Raises
        ------
        DataError
            It cannot be opened or holds no frame.
        """

    def facts(self) -> dict[str, object]:
        """Return what else there is to say of it afterwards, as plain JSON."""
        return {}


class StoredVideo(Source):
    """A video file, or a folder of frames."""

    def __init__(self, video: Video, name: str) -> None:
        super().__init__(name, where(video))
        self._video = video
        self._clock = Clock(rate=0.0)

    def blocks(self, watch: Watch, stop: Event) -> Iterator[Block]:
        """See :meth:`Source.blocks`."""
        self._look()
        number = 0
        video = self._video if self.thin_to is None else replace(self._video, cut=self._cut)
        with open_frames(video) as reader:
            while not stop.is_set():
                frames: list[Frames] = []
                try:
                    with watch.part("decode"):
                        while len(frames) < self._block_frames(frames) and (frame_HWC := reader.next_frame()) is not None:
                            frames.append(frame_HWC)
                except DataError as error:
                    self.problem = str(error)
                if frames:
                    time_T = self._times(number, len(frames))
                    yield Block(frames_THWC=np.stack(frames), first=number, time_T=time_T, fresh=number == 0)
                    number += len(frames)
                if not frames or self.problem:
                    break
        if self.problem and not number:
            raise DataError(self.problem)
        if not number and not stop.is_set():
            raise DataError(f"{self.shown}: expected a video, found no frame that can be decoded; copy or convert it anew")

    def _look(self) -> None:
        """Refuse a file that was cut off, and learn what its header says."""
        if self._video.is_folder:
            self.expected = len(self._video.files)
            return
        check_whole(self._video.files[0])
        capture = open_capture(self._video.files[0])
        self.fps = positive(capture.get(cv2.CAP_PROP_FPS)) or self.fps
        self.expected = int(positive(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        capture.release()
        self._clock = clock_of(self._video)
        if self.thin_to is not None:
            self.expected = count_kept(self._cut, self._clock, self.expected, self.shown)
            self.fps = rate_of(self._cut, self._clock, self.shown)

    def _times(self, first: int, count: int) -> NDArray[np.float64]:
        """Return the seconds of frames, (count,): their own ones where they come unevenly and none is left out."""
        if self._clock.time_T is None or self.thin_to is not None:
            return times(first, count, self.fps)
        return np.array([self._clock.time_of(frame) for frame in range(first, first + count)])

    @property
    def _cut(self) -> Cut:
        return Cut(recording=self._video.id, fps=self.thin_to)

    @staticmethod
    def _block_frames(frames: list[Frames]) -> int:
        return block_frames(frames[0]) if frames else 1


def block_frames(frame_HWC: Frames) -> int:
    """Return how many frames like this one are held at native size at once."""
    return max(1, min(BLOCK_FRAMES, BLOCK_BYTES // frame_HWC.nbytes))


def times(first: int, count: int, fps: float) -> NDArray[np.float64]:
    """Return the seconds of frames ``first`` to ``first + count``, (count,); NaN where fps is unknown (0)."""
    number_T = np.arange(first, first + count, dtype=np.float64)
    return number_T / fps if fps else np.full(count, np.nan)


def positive(value: float) -> float:
    """Return a number that a container claims, or 0 where it is none; what is beyond all bounds stands for "unknown"."""
    return value if 0 < value < MOST else 0.0


def now() -> float:
    """Return the clock by which delays are told."""
    return time.monotonic()
