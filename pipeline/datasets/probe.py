"""Reading one video through: how many frames, of which size, and a hash of its content."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import cv2

from pipeline.contract import DataError, Video
from pipeline.datasets.containers import check_whole
from pipeline.datasets.images import decode_image, read_bytes, size_error, to_rgb
from pipeline.datasets.listing import check_numbering, where
from pipeline.datasets.reader import open_capture

_BLOCK = 1 << 20  # bytes


@dataclass(frozen=True, kw_only=True)
class Content:
    """What was found in the files of one video; see :class:`pipeline.contract.VideoRecord`."""

    num_frames: int
    height: int
    width: int
    fps: float
    digest: str


def probe(video: Video, known: Mapping[str, Content] | None = None) -> Content:
    """Count the frames of a video and hash its files. Content with a digest in ``known`` is not counted again.

    Raises
    ------
    DataError
        Nothing can be decoded, frames are missing or differ in size; the file is named.
    """
    if not video.files:
        raise DataError(f"{where(video)}: expected frames, found an empty folder; fill or remove it")
    return (_probe_folder if video.is_folder else _probe_file)(video, known or {})


def _probe_file(video: Video, known: Mapping[str, Content]) -> Content:
    path = video.files[0]
    digest = _hash_file(path)
    if digest in known:
        return known[digest]
    check_whole(path)
    capture = open_capture(path)
    try:
        fps = capture.get(cv2.CAP_PROP_FPS)
        size: tuple[int, int] | None = None
        num_frames = 0
        while capture.grab():
            if size is None:  # the first frame itself: what the container claims may be unrotated, or wrong
                ok, frame_HWC = capture.retrieve()
                if not ok:
                    break
                height, width = to_rgb(frame_HWC, str(path)).shape[:2]
                size = height, width
            num_frames += 1
    finally:
        capture.release()
    if size is None:
        raise DataError(f"{path}: expected a video, found no frame that can be decoded; copy or convert it anew")
    fps = fps if math.isfinite(fps) and fps > 0 else 0.0
    return Content(num_frames=num_frames, height=size[0], width=size[1], fps=fps, digest=digest)


def _hash_file(path: Path) -> str:
    hasher = blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
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
