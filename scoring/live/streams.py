"""Streams and cameras: a thread takes frames as they come into a bounded queue, so that none is waited for twice.

1. The thread decodes and puts frames into the queue. A live source that meets a full queue loses all that is in it: frames
   in one stretch are worth more than single ones, and what is scored stays recent. Any other source waits for room.
2. The scorer takes what is there as soon as its oldest frame has waited for ``delay`` seconds, or a block is full.
3. A source that breaks off is opened again, a limited number of times; frames after a gap are marked as a fresh start.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor
from threading import Condition, Event, Thread
from urllib.parse import urlsplit, urlunsplit

import cv2
import numpy as np

from pipeline.config import CLIP_FRAMES
from pipeline.contract import Cut, DataError
from pipeline.datasets.clocks import ROUNDING, Clock
from pipeline.datasets.cuts import count_kept, step_of
from pipeline.datasets.images import to_rgb
from scoring.live.sources import Block, Frames, Source, block_frames, now, positive, times
from scoring.live.watch import Watch

QUEUE_BYTES = 256 * 2**20
USUAL_FPS = 25.0
POLL_SECONDS = 0.1
WHOLE = 0.98  # share of the frames that a header claims from which a video counts as complete; some only estimate
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class StreamSettings:
    """How long to wait, and how often to try again."""

    delay: float = 1.0
    """Seconds that a frame may wait for others before it is scored."""
    reconnect: int = 5
    """Attempts to open a stream again that broke off, one after another; 0 = none."""
    pause: float = 2.0
    """Seconds before each attempt."""
    timeout: float = 10.0
    """Seconds without a frame after which a stream has broken off."""


@dataclass(frozen=True, kw_only=True)
class _Item:
    frame_HWC: Frames
    number: int
    time: float
    arrived: float
    fresh: bool


class Stream(Source):
    """An address that FFmpeg opens, or the index of a camera."""

    def __init__(self, target: str | int, settings: StreamSettings, say: Say) -> None:
        super().__init__(stream_name(target), shown_target(target))
        self._target, self._settings, self._say = target, settings, say
        self._queue: deque[_Item] = deque()
        self._changed = Condition()
        self._ended = False
        self._received = self._dropped = self._reconnects = 0
        self._passed, self._step = 0, 1.0
        self._began = 0.0
        self._began_at: str | None = None

    def blocks(self, watch: Watch, stop: Event) -> Iterator[Block]:
        """See :meth:`Source.blocks`."""
        capture = self._open()
        self.fps = positive(capture.get(cv2.CAP_PROP_FPS))
        self.expected = int(positive(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.live = isinstance(self._target, int) or not self.expected or not self._target.startswith("http")
        self._thin_out()
        leave = Event()
        thread = Thread(target=self._collect, args=(capture, watch, leave), daemon=True, name=f"frames of {self.shown}")
        thread.start()
        try:
            while items := self._take(stop):
                yield self._block(items)
        finally:
            leave.set()
            thread.join(self._settings.timeout)
        if not self._received and not stop.is_set():
            raise DataError(f"{self.shown}: {self.problem or 'expected frames, found none'}; is it a video stream?")

    def _thin_out(self) -> None:
        """Find out how many frames come per frame that is scored; raises DataError if too few do."""
        if self.thin_to is None:
            return
        cut = Cut(recording=self.name, fps=self.thin_to)
        clock = Clock(rate=self.fps)
        self._step = step_of(cut, clock, self.shown)
        self.expected = count_kept(cut, clock, self.expected, self.shown)
        self.fps /= self._step

    def facts(self) -> dict[str, object]:
        """See :meth:`Source.facts`."""
        counts = {"received": self._received, "dropped": self._dropped, "reconnects": self._reconnects}
        return {"began": self._began_at, **counts}

    def _block(self, items: list[_Item]) -> Block:
        return Block(
            frames_THWC=np.stack([item.frame_HWC for item in items]),
            first=items[0].number,
            time_T=np.array([item.time for item in items]),
            fresh=items[0].fresh,
            urgent=self.live,
            arrived=items[0].arrived,
        )

    def _take(self, stop: Event) -> list[_Item]:
        """Wait for frames; none = the end."""
        with self._changed:
            while not self._ready() and not stop.is_set():
                self._changed.wait(POLL_SECONDS)
            if stop.is_set():
                return []
            items: list[_Item] = []
            while self._queue and len(items) < block_frames(self._queue[0].frame_HWC):
                if items and self._queue[0].fresh:
                    break
                items.append(self._queue.popleft())
            self._changed.notify_all()
            return items

    def _ready(self) -> bool:
        if not self._queue:
            return self._ended
        waited = now() - self._queue[0].arrived
        full = len(self._queue) >= min(block_frames(self._queue[0].frame_HWC), self._room(self._queue[0].frame_HWC))
        return self._ended or full or (self.live and waited >= self._settings.delay)

    def _room(self, frame_HWC: Frames) -> int:
        """Return how many frames may wait: twice the delay, enough for a clip, within the memory."""
        wanted = ceil(2 * self._settings.delay * (self.fps or USUAL_FPS))
        return max(1, min(max(wanted, 2 * CLIP_FRAMES), QUEUE_BYTES // frame_HWC.nbytes))

    def _collect(self, capture: cv2.VideoCapture, watch: Watch, leave: Event) -> None:
        """Be the thread."""
        current: cv2.VideoCapture | None = capture
        fresh = True
        try:
            while current is not None and not leave.is_set():
                with watch.part("receive"):  # decoding, and waiting for what there is to decode
                    ok, frame_HWC = current.read()
                if ok:
                    wanted = self._passed >= floor(self._received * self._step + ROUNDING)
                    self._passed += 1
                    if wanted:
                        fresh = self._put(to_rgb(frame_HWC, self.shown), fresh, leave)
                    continue
                current.release()
                current, fresh = self._again(leave), True
        except (DataError, cv2.error) as error:
            self.problem = str(error)
        finally:
            if current is not None:
                current.release()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, frame_HWC: Frames, fresh: bool, leave: Event) -> bool:
        """Add a frame and say whether the next one is a fresh start."""
        arrived = now()
        if self._began_at is None:
            self._began, self._began_at = arrived, datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._changed:
            if self._queue and self._queue[-1].frame_HWC.shape != frame_HWC.shape:
                fresh = True
            if len(self._queue) >= self._room(frame_HWC) and self.live:
                self._dropped += len(self._queue)
                self._queue.clear()
                fresh = True
            while len(self._queue) >= self._room(frame_HWC) and not leave.is_set():
                self._changed.wait(POLL_SECONDS)
            seconds = arrived - self._began if self.live else float(times(self._received, 1, self.fps)[0])
            item = _Item(frame_HWC=frame_HWC, number=self._received, time=seconds, arrived=arrived, fresh=fresh)
            self._queue.append(item)
            self._received += 1
            self._changed.notify_all()
        return False

    def _again(self, leave: Event) -> cv2.VideoCapture | None:
        """Open the stream again after it broke off; None = it is over."""
        if not self.live and self._received >= WHOLE * self.expected:
            return None
        if not self.live:
            self.problem = (
                f"expected about {self.expected} frames, found {self._received}: it broke off; "
                "score it again, or copy it and score the file"
            )
            return None
        attempts = self._settings.reconnect
        for attempt in range(1, attempts + 1):
            self._say(f"{self.shown}: broke off after {self._received} frames; attempt {attempt} of {attempts} to reconnect")
            if leave.wait(self._settings.pause):
                return None
            try:
                capture = self._open()
            except DataError:
                continue
            self._reconnects += 1
            return capture
        self.problem = f"broke off after {self._received} frames, and {attempts} attempts to reconnect failed"
        return None

    def _open(self) -> cv2.VideoCapture:
        milliseconds = int(self._settings.timeout * 1000)
        if isinstance(self._target, int):
            capture = cv2.VideoCapture(self._target)
        else:
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
            capture = cv2.VideoCapture(self._target, cv2.CAP_FFMPEG, limits)
        if not capture.isOpened():
            raise DataError(
                f"{self.shown}: expected a stream or camera that can be opened, found none within "
                f"{self._settings.timeout:g} s; is it switched on, and the address right?"
            )
        return capture


def is_stream(text: str) -> bool:
    """Return whether a source is an address rather than a path."""
    return re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE) is not None


def shown_target(target: str | int) -> str:
    """Return what a stream is called in messages and results: the address without user, password and query."""
    if isinstance(target, int):
        return f"camera {target}"
    parts = urlsplit(target)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def stream_name(target: str | int) -> str:
    """Return a file name for what is written about a stream."""
    if isinstance(target, int):
        return f"camera-{target}"
    _, _, rest = shown_target(target).partition("://")
    return re.sub(r"[^A-Za-z0-9.-]+", "_", rest).strip("._-") or "stream"
