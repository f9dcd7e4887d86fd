"""Frames of the videos themselves, for the stages that decode."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import VideoRecord
from pipeline.datasets.images import swap_to_rgb
from pipeline.datasets.reader import Convert, FrameReader, PlainRoom, Room, open_frames
from pipeline.datasets.unchanged import UnchangedVideo

Span = tuple[VideoRecord, int, int]


class SourceFrames:
    """Keeps the last video open, so that successive shards of it decode no frame twice.

    With ``ahead`` the next shard is decoded while this one is written, by a thread: OpenCV lets go of the interpreter. What
    comes out is the same. ``make_room``: see :meth:`FrameReader.read`.
    """

    def __init__(self, *, ahead: bool = False, make_room: Callable[[int, tuple[int, ...]], Room] = PlainRoom) -> None:
        self._record: VideoRecord | None = None
        self._reader: FrameReader | None = None
        self._unchanged: UnchangedVideo | None = None
        self._make_room = make_room
        self._pool = ThreadPoolExecutor(1) if ahead else None
        self._next: tuple[Span, Future[NDArray[np.uint8]]] | None = None

    def read(self, record: VideoRecord, start: int, stop: int, convert: Convert = swap_to_rgb) -> NDArray[np.uint8]:
        """Return frames (stop - start, H, W, 3) uint8 RGB at native size, or converted; see :meth:`FrameReader.read`.

        With ``ahead`` every call must give the same ``convert``.
        """
        frames_THWC = self._take(record, start, stop)
        if frames_THWC is None:
            frames_THWC = self._read(record, start, stop, convert)
        if self._pool is not None and stop < record.num_frames:
            span = record, stop, min(2 * stop - start, record.num_frames)
            self._next = span, self._pool.submit(self._read, *span, convert)
        return frames_THWC

    def _take(self, *span: VideoRecord | int) -> NDArray[np.uint8] | None:
        """Return what was decoded ahead if it is this; wait for it in any case, as there is one reader."""
        if self._next is None:
            return None
        (expected, future), self._next = self._next, None
        if expected == span:
            return future.result()
        future.exception()
        return None

    def _read(self, record: VideoRecord, start: int, stop: int, convert: Convert) -> NDArray[np.uint8]:
        if self._reader is None or self._record != record:
            if self._reader is not None:
                self._reader.close()
            self._record = self._reader = None  # if the next one does not open, there is none
            self._unchanged = UnchangedVideo(record)
            self._reader = open_frames(record.video)
            self._record = record
        assert self._unchanged is not None
        try:
            frames_THWC = self._reader.read(start, stop, convert, self._make_room)
        except ValueError:  # of a file that was replaced, that it was says more than what cannot be decoded now
            self._unchanged.require()
            raise
        self._unchanged.require()
        return frames_THWC
