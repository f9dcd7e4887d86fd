"""Decoding: frames of a video file or of an image folder, in order, as 8-bit RGB at their native size.

OpenCV's seeking (``CAP_PROP_POS_FRAMES``) lands on other frames for some codecs, and the number of frames that a
container claims may be wrong. So frames are only ever counted from the start.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

import cv2
import numpy as np

from pipeline.contract import Cut, DataError, Video
from pipeline.datasets import captures
from pipeline.datasets.captures import ONE_THREAD, open_capture
from pipeline.datasets.clocks import clock_of
from pipeline.datasets.cuts import count_kept, frame_at
from pipeline.datasets.images import Frames, check_picture, decode_image, read_bytes, size_error, swap_to_rgb
from pipeline.datasets.listing import check_numbering, where


class Convert(Protocol):
    """What is made of each picture."""

    def __call__(self, picture: Frames, out: Frames | None = None) -> Frames:
        """Return what is wanted of a picture as OpenCV decodes it, (H, W) grey or (H, W, 3) BGR uint8.

        It is written into ``out`` where that is given: an array of the shape that the first picture of the video gave.
        """


class Room(Protocol):
    """Where pictures are put, one after another."""

    rows: Frames
    """(N, ...), to be written into."""

    def done(self, row: int) -> None:
        """Take note that a row holds what it will."""

    def finished(self) -> Frames:
        """Return all rows."""


class PlainRoom:
    """An array and nothing more."""

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        self.rows: Frames = np.empty((count, *shape), np.uint8)

    def done(self, row: int) -> None:
        """Do nothing."""

    def finished(self) -> Frames:
        """Return it."""
        return self.rows


class FrameReader(ABC):
    """An open video. Reading on from where the last call ended (or one frame before) decodes nothing twice."""

    def __init__(self, video: Video) -> None:
        self.video = video
        self._position = 0  # number of the frame that comes next
        self._last: Frames | None = None  # frame position - 1: the flow of the next shard starts with it
        self._size: tuple[int, int] | None = None

    def read(
        self,
        start: int,
        stop: int,
        convert: Convert = swap_to_rgb,
        make_room: Callable[[int, tuple[int, ...]], Room] = PlainRoom,
    ) -> Frames:
        """Return frames ``start`` to ``stop`` (exclusive).

        ``convert`` is applied frame by frame, so that a shard of large frames is never held at its native size.
        ``make_room`` is given how many there will be, and the shape of each.

        Returns
        -------
        frames_THWC
            (stop - start, H, W, 3) uint8 RGB at native size, or what ``convert`` makes of them; grey sources come with three
            equal channels.

        Raises
        ------
        DataError
            The video has fewer frames, or a frame is unreadable or of another size; file and values are named.
        """
        if not 0 <= start < stop:
            raise ValueError(f"expected 0 <= start < stop, found start {start}, stop {stop}")
        if self._last is not None and start == self._position - 1:
            first = convert(self._last)
        else:
            self._move_to(start)
            first = convert(self._next(stop))
        room = make_room(stop - start, first.shape)
        room.rows[0] = first
        room.done(0)
        for row in range(1, stop - start):
            made = convert(self._next(stop), room.rows[row])
            if not np.may_share_memory(made, room.rows[row]):  # OpenCV leaves alone what has another size
                room.rows[row] = made
            room.done(row)
        return room.finished()

    def _next(self, stop: int) -> Frames:
        picture = self.next_picture()
        if picture is None:
            raise DataError(
                f"{where(self.video)}: expected at least {stop} frames, found {self._position}; "
                "was the video changed while it was read?"
            )
        return picture

    def next_frame(self) -> Frames | None:
        """Return the frame that comes next, (H, W, 3) uint8 RGB at native size, or None at the end of the video.

        Raises
        ------
        DataError
            It is unreadable or of another size than those before; file and values are named.
        """
        picture = self.next_picture()
        return None if picture is None else swap_to_rgb(picture)

    def next_picture(self) -> Frames | None:
        """Return what :meth:`next_frame` does, as OpenCV decodes it: (H, W) grey or (H, W, 3) BGR uint8."""
        picture = self._decode()
        if picture is None:
            return None
        height, width = picture.shape[:2]
        self._size = self._size or (height, width)
        if self._size != (height, width):
            raise size_error(self._where(self._position), self._size, (height, width))
        self._position += 1
        self._last = picture
        return picture

    @abstractmethod
    def _move_to(self, start: int) -> None:
        """Make frame ``start`` the next one."""

    @abstractmethod
    def _decode(self) -> Frames | None:
        """Return the next frame as OpenCV decodes it, (H, W) grey or (H, W, 3) BGR uint8, or None at the end."""

    def picture_at(self, frame: int) -> Frames | None:
        """Return what :meth:`next_picture` does of one frame; the one that came last is not decoded again."""
        if self._last is not None and frame == self._position - 1:
            return self._last
        if frame != self._position:
            self._move_to(frame)
        return self.next_picture()

    @abstractmethod
    def _where(self, position: int) -> str:
        """Return how to name frame ``position`` in a message."""

    def close(self) -> None:
        """Give back what the decoder holds."""
        self._last = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _FileReader(FrameReader):
    """Frames of one video file."""

    def __init__(self, video: Video) -> None:
        super().__init__(video)
        self._capture = open_capture(video.files[0], ONE_THREAD)

    def _move_to(self, start: int) -> None:
        if start < self._position:
            self._capture.release()
            self._capture = open_capture(self.video.files[0], ONE_THREAD)
            self._position = 0
        while self._position < start and self._capture.grab():  # a grabbed frame is not converted
            self._position += 1
        self._last = None

    def _decode(self) -> Frames | None:
        if not self._capture.grab():
            return None
        ok, picture = self._capture.retrieve()
        if not ok:
            raise DataError(f"{self._where(self._position)}: cannot be decoded; convert the video anew")
        return check_picture(picture, self._where(self._position))

    def _where(self, position: int) -> str:
        return f"{self.video.files[0]}, frame {position}"

    def close(self) -> None:
        super().close()
        self._capture.release()


class _FolderReader(FrameReader):
    """Frames of a folder of images."""

    def __init__(self, video: Video) -> None:
        super().__init__(video)
        check_numbering(video)

    def _move_to(self, start: int) -> None:
        self._position = min(start, len(self.video.files))
        self._last = None

    def _decode(self) -> Frames | None:
        if self._position == len(self.video.files):
            return None
        path = self.video.files[self._position]
        return check_picture(decode_image(read_bytes(path), path), str(path))

    def _where(self, position: int) -> str:
        return str(self.video.files[position])


class _PartReader(FrameReader):
    """The frames of a recording that count; those between them are passed over without being converted."""

    def __init__(self, video: Video, cut: Cut) -> None:
        super().__init__(video)
        self._cut = cut
        self._clock = clock_of(video)
        self._whole = (_FolderReader if video.is_folder else _FileReader)(video)

    def _move_to(self, start: int) -> None:
        self._position = start
        self._last = None

    def _decode(self) -> Frames | None:
        frame = frame_at(self._cut, self._clock, self._position, where(self.video))
        return None if frame is None else self._whole.picture_at(frame)

    def _where(self, position: int) -> str:
        return f"{where(self.video)}, frame {position} of {self.video.id}"

    def close(self) -> None:
        super().close()
        self._whole.close()


def open_frames(video: Video) -> FrameReader:
    """Open a video for reading; a context manager.

    Raises
    ------
    DataError
        The video has no frames, cannot be opened, or its frames are not numbered without gaps.
    """
    if not video.files:
        raise DataError(f"{where(video)}: expected frames, found an empty folder; fill or remove it")
    if video.cut is not None and video.cut.selects:
        return _PartReader(video, video.cut)
    return _FolderReader(video) if video.is_folder else _FileReader(video)


def native_size(video: Video) -> tuple[int, int]:
    """Return height and width of the first frame, in pixels."""
    with open_frames(video) as reader:
        height, width = reader.read(0, 1).shape[1:3]
    return height, width


def claimed_frames(video: Video) -> int:
    """Return how many frames a video has, of a video file as its header claims: 0 where it does not say."""
    if video.is_folder:
        return _kept(video, len(video.files))
    capture = open_capture(video.files[0])
    claimed = captures.claimed_frames(capture)
    capture.release()
    return _kept(video, claimed) if claimed else 0


def count_frames(video: Video) -> int:
    """Return how many frames a video has; those of a video file are counted, as its header may be wrong."""
    if video.is_folder:
        return _kept(video, len(video.files))
    capture = open_capture(video.files[0])
    frames = 0
    try:
        while capture.grab():
            frames += 1
    finally:
        capture.release()
    return _kept(video, frames)


def _kept(video: Video, recorded: int) -> int:
    if video.cut is None or not video.cut.selects:
        return recorded
    return count_kept(video.cut, clock_of(video), recorded, where(video))


def resize_frames(frames_THWC: Frames, height: int, width: int) -> Frames:
    """Resize (T, H, W, C) uint8 frames to (T, height, width, C).

    Axes that shrink are averaged over areas, which leaves no aliasing; axes that grow are interpolated linearly. Where one
    shrinks and the other grows (Ped2, 240 x 360 to 256 x 256) these are two steps: OpenCV has one method per call.
    """
    old_height, old_width, channels = frames_THWC.shape[1:]
    if (old_height, old_width) == (height, width):
        return frames_THWC
    out_THWC = np.empty((len(frames_THWC), height, width, channels), np.uint8)
    for frame_HWC, out_HWC in zip(frames_THWC, out_THWC, strict=True):
        out_HWC[:] = resize_frame(frame_HWC, height, width).reshape(out_HWC.shape)
    return out_THWC


def resize_frame(picture: Frames, height: int, width: int) -> Frames:
    """Resize one picture, (H, W) or (H, W, C), as :func:`resize_frames` does."""
    shrunk = min(picture.shape[0], height), min(picture.shape[1], width)
    return np.asarray(_resize(_resize(picture, *shrunk, cv2.INTER_AREA), height, width, cv2.INTER_LINEAR), np.uint8)


def _resize(frame_HWC: Any, height: int, width: int, interpolation: int) -> Any:
    if frame_HWC.shape[:2] == (height, width):
        return frame_HWC
    return cv2.resize(frame_HWC, (width, height), interpolation=interpolation)


def to_grey(frames_THWC: Frames) -> Frames:
    """Convert (T, H, W, 3) uint8 RGB to (T, H, W) uint8 grey, 0.299 R + 0.587 G + 0.114 B; (T, H, W, 1) is squeezed."""
    if frames_THWC.shape[-1] == 1:
        return frames_THWC[..., 0]
    return np.stack([np.asarray(cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2GRAY), np.uint8) for frame_HWC in frames_THWC])
