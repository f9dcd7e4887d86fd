"""Reading one video through: how many frames, of which size, and a hash of its content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import cv2
import numpy as np

from pipeline.contract import DataError, Video
from pipeline.datasets.captures import capture_rate, open_capture
from pipeline.datasets.clocks import Times, clock_from, clock_of
from pipeline.datasets.containers import check_whole, counted_frames, lacks_frames
from pipeline.datasets.cuts import UNTIMED, count_kept, digest_cut, goes_by_time, rate_of
from pipeline.datasets.images import decode_image, read_bytes, size_error, to_rgb
from pipeline.datasets.listing import check_numbering, where
from pipeline.datasets.remote import fetch

SAME_SECONDS = 0.001
_BLOCK = 1 << 20  # bytes


@dataclass(frozen=True, kw_only=True)
class Content:
    """What was found in the files of one video; see :class:`pipeline.contract.VideoRecord`."""

    num_frames: int
    height: int
    width: int
    fps: float
    digest: str
    remark: str = ""
    """What is worth knowing of a video that can be used; empty: nothing."""
    timed: bool = True
    """Whether its frames, if they come unevenly, can be told by the times of its packets."""


def probe(video: Video, known: Mapping[str, Content] | None = None) -> Content:
    """Count all frames of a video and hash its files. Content with a digest in ``known`` is not counted again.

    Raises
    ------
    DataError
        Nothing can be decoded, frames are missing or differ in size; the file is named.
    """
    if not video.files:
        raise DataError(f"{where(video)}: expected frames, found an empty folder; fill or remove it")
    return (_probe_folder if video.is_folder else _probe_file)(video, known or {})


def content_of_part(whole: Content, video: Video) -> Content:
    """Return what the part of a recording that counts holds, given what the whole does; the whole if all of it counts.

    Raises
    ------
    DataError
        The recording has a lower rate than was asked for, or does not say its rate, or not when its frames were taken.
    """
    cut, name = video.cut, where(video)
    if cut is None or not cut.selects:
        return whole
    if not whole.timed and goes_by_time(cut):
        raise DataError(f"{name}: {UNTIMED}")
    clock = clock_of(video)
    return replace(
        whole,
        num_frames=count_kept(cut, clock, whole.num_frames, name),
        fps=rate_of(cut, clock, name),
        digest=digest_cut(cut, clock, whole.digest),
    )


def _probe_file(video: Video, known: Mapping[str, Content]) -> Content:
    path = video.files[0]
    digest = _hash_file(path)
    damage = _damage(video)
    if digest in known:
        return known[digest]
    capture = open_capture(path)
    try:
        fps = capture_rate(capture, path)
        counted = counted_frames(path, capture)
        size: tuple[int, int] | None = None
        times: list[float] = []
        while capture.grab():
            if size is None:  # the first frame itself: what the container claims may be unrotated, or wrong
                ok, frame_HWC = capture.retrieve()
                if not ok:
                    break
                height, width = to_rgb(frame_HWC, str(path)).shape[:2]
                size = height, width
            times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    finally:
        capture.release()
    if size is None:
        raise DataError(f"{path}: expected a video, found no frame that can be decoded; copy or convert it anew")
    num_frames = len(times)
    fps, timed = _rate_and_times(video, np.array(times), fps)
    if damage:
        num_frames -= 1  # of the frame in which it was cut off, a decoder shows what it makes up
        damage = f"{damage}; its first {num_frames} frames are used"
    elif lacks_frames(counted, num_frames):
        damage = f"{path}: its header claims {counted} frames, {num_frames} can be decoded and count"
    height, width = size
    return Content(
        num_frames=num_frames, height=height, width=width, fps=fps, digest=digest, remark=damage, timed=timed
    )


def _rate_and_times(video: Video, time_T: Times, claimed: float) -> tuple[float, bool]:
    """Return the frames per second of a file, and whether its packets tell when its frames, decoded, were taken."""
    seen = clock_from(time_T, claimed)
    if seen.time_T is None:
        return claimed, True
    told = clock_of(video).time_T
    agree = told is not None and len(told) >= len(time_T) and np.abs(told[: len(time_T)] - seen.time_T).max() < SAME_SECONDS
    return seen.rate, bool(agree)


def _damage(video: Video) -> str:
    """Return how a video file that may be used all the same was damaged; raises DataError if it may not be used."""
    try:
        check_whole(video.files[0])
    except DataError as error:
        if video.cut is None or not video.cut.damaged:
            raise
        return str(error)
    return ""


def _hash_file(path: Path) -> str:
    hasher = blake2b(digest_size=16)
    try:
        with fetch(path).open("rb") as file:
            while block := file.read(_BLOCK):
                hasher.update(block)
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, found: {error.strerror}") from error
    return hasher.hexdigest()


def _probe_folder(video: Video, known: Mapping[str, Content]) -> Content:
    """Decode every image, unless the same bytes were decoded before: a bad one is better found before GPU-days."""
    check_numbering(video)
    if any(content.num_frames == len(video.files) for content in known.values()):
        digest = _hash_images(video.files)
        if digest in known:
            return known[digest]
    hasher = blake2b(digest_size=16)
    size: tuple[int, int] | None = None
    for path in video.files:
        data = read_bytes(path)
        _add_image(hasher, data)
        height, width = to_rgb(decode_image(data, path), str(path)).shape[:2]
        size = size or (height, width)
        if size != (height, width):
            raise size_error(str(path), size, (height, width))
    assert size is not None  # probe() has refused empty folders
    return Content(num_frames=len(video.files), height=size[0], width=size[1], fps=0.0, digest=hasher.hexdigest())


def _hash_images(files: Sequence[Path]) -> str:
    hasher = blake2b(digest_size=16)
    for path in files:
        _add_image(hasher, read_bytes(path))
    return hasher.hexdigest()


def _add_image(hasher: blake2b, data: bytes) -> None:
    hasher.update(len(data).to_bytes(8, "little"))  # so that cutting the bytes otherwise differs
    hasher.update(data)
