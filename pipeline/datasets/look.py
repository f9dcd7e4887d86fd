"""Looking a video over: everything that is wrong with it, found without decoding it, or with every frame decoded.

The inventory stops at the first problem of a video, since one is enough not to use it; here all of them are wanted. Of a
folder of images the header of every file is read and three are decoded; of a video file the first frame is, and the number
of frames is what the container claims.
"""

import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b

import cv2
import numpy as np

from pipeline.contract import Array, DataError, Video
from pipeline.datasets import reader
from pipeline.datasets.containers import check_whole
from pipeline.datasets.headers import Size, image_size
from pipeline.datasets.images import decode_image, read_bytes, to_rgb
from pipeline.datasets.listing import ImageFiles, file_names, numbering_errors, where

_BLOCK = 1 << 20  # bytes
_HEAD = 1 << 16  # bytes of a video file that tell it from others of its size, in nearly every case


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one video holds and what is wrong with it."""

    video: Video
    num_frames: int
    exact: bool = True
    """False where ``num_frames`` is the claim of a container."""
    sizes: Counter[Size]
    """How many frames have which (height, width); of a video file that was not decoded, one frame."""
    fps: float = 0.0
    """Frames per second; 0 where the files do not say."""
    likeness: str = ""
    """Equal for videos of equal content, and hardly ever for others."""
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    """What is worth knowing and does no harm."""


def look_over(video: Video, *, deep: bool = False) -> Look:
    """Return what a video holds, and all that is wrong with it; ``deep`` decodes every frame."""
    if not video.files:
        problem = f"{where(video)}: expected frames, found an empty folder; fill or remove it"
        return Look(video=video, num_frames=0, sizes=Counter(), problems=(problem,))
    return (_look_at_folder if video.is_folder else _look_at_file)(video, deep)


def _look_at_folder(video: Video, deep: bool) -> Look:
    problems = [str(error) for error in numbering_errors(video)]
    frames = len(video.files)
    chosen = set(range(frames)) if deep else {0, frames // 2, frames - 1}
    sizes: Counter[Size] = Counter()
    first: dict[Size, str] = {}
    likeness = blake2b(digest_size=16)
    pictures: list[Array] = []
    for i, path in enumerate(_paths(video)):
        try:
            size = image_size(path)
            if i in chosen:
                picture, data = _decode(video, i)
                likeness.update(data)
                if len(pictures) < 3:
                    pictures.append(picture)
                size = picture.shape[0], picture.shape[1]
        except DataError as error:
            problems.append(str(error))
            continue
        sizes[size] += 1
        first.setdefault(size, path)
    if len(sizes) > 1:
        problems.append(_mixed(video, sizes, first))
    if _are_masks(pictures):
        problems.append(
            f"{where(video)}: expected pictures, found only black and white, as masks are; move it away, or give its name "
            "the ending _gt"
        )
    return Look(
        video=video, num_frames=frames, sizes=sizes, likeness=f"{frames} {likeness.hexdigest()}", problems=tuple(problems)
    )


def _paths(video: Video) -> Iterator[str]:
    """Yield the paths of a folder's images as strings."""
    if isinstance(video.files, ImageFiles):
        folder = f"{video.files.folder}/"
        yield from (folder + name for name in file_names(video))
    else:
        yield from map(str, video.files)


def _decode(video: Video, index: int) -> tuple[Array, bytes]:
    path = video.files[index]
    data = read_bytes(path)
    return to_rgb(decode_image(data, path), str(path)), data


def _mixed(video: Video, sizes: Counter[Size], first: dict[Size, str]) -> str:
    usual, *others = (size for size, _ in sizes.most_common())
    found = ", ".join(f"{sizes[size]} of {shown(size)} (first {first[size].rpartition('/')[2]})" for size in others)
    return (
        f"{where(video)}: expected one size for all frames, found {sizes[usual]} of {shown(usual)} (height x width) and "
        f"{found}; convert them, or split the video"
    )


def shown(size: Size) -> str:
    """Return a (height, width) as it is printed."""
    return f"{size[0]} x {size[1]}"


def _are_masks(pictures: list[Array]) -> bool:
    """Say whether pictures hold black and white and hardly anything between, as no camera's do."""
    if not pictures:
        return False
    between = sum(int(np.count_nonzero((picture > 16) & (picture < 239))) for picture in pictures)
    white = sum(int(np.count_nonzero(picture >= 239)) for picture in pictures)
    pixels = sum(picture.size for picture in pictures)
    return between < 0.002 * pixels and 0 < white < pixels


def _look_at_file(video: Video, deep: bool) -> Look:
    path = video.files[0]
    problems = []
    if path.exists() and not path.is_file():  # a pipe, for one, would be waited for
        problem = f"{path}: expected a file, found something else; remove it"
        return Look(video=video, num_frames=0, sizes=Counter(), problems=(problem,))
    try:
        check_whole(path)
    except DataError as error:
        problems.append(str(error))
    try:
        capture = reader.open_capture(path)
    except DataError as error:
        return Look(video=video, num_frames=0, sizes=Counter(), problems=(*problems, str(error)))
    try:
        fps = capture.get(cv2.CAP_PROP_FPS)
        claimed = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        exact = deep or not math.isfinite(claimed) or not 0 < claimed < 2**31
        frames, sizes, wrong = _grab(capture, str(path), most=None if exact else 1, deep=deep)
    finally:
        capture.release()
    if not sizes and not wrong:
        problems.append(f"{path}: expected a video, found no frame that can be decoded; copy or convert it anew")
    if len(sizes) > 1:
        problems.append(f"{path}: expected one size for all frames, found {', '.join(map(shown, sizes))}; convert it")
    remarks: tuple[str, ...] = ()
    if exact and sizes and 0 < claimed < 2**31 and int(claimed) != frames:
        remarks = (f"{path}: its header claims {int(claimed)} frames, {frames} can be decoded and count",)
    return Look(
        video=video,
        num_frames=frames if exact or not sizes else int(claimed),
        exact=exact or not sizes,
        sizes=sizes,
        fps=fps if math.isfinite(fps) and fps > 0 else 0.0,
        likeness=_file_likeness(video),
        problems=(*problems, *wrong),
        remarks=remarks,
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


def _file_likeness(video: Video) -> str:
    try:
        with video.files[0].open("rb") as file:
            head = file.read(_HEAD)
            return f"{file.seek(0, 2)} {blake2b(head, digest_size=16).hexdigest()}"
    except OSError:
        return ""  # that it cannot be read was said already


def count_frames(look: Look) -> Look:
    """Return the same with the exact number of frames: those of a video file are counted one by one."""
    if look.exact:
        return look
    return replace(look, num_frames=reader.count_frames(look.video), exact=True)


def _open(path: str, flags: int) -> int:
    """Open a file without waiting for somebody to write into it, should it be a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def content(video: Video) -> str:
    """Return a hex hash of the content of all files; raises DataError if one cannot be read."""
    hasher = blake2b(digest_size=16)
    for path in video.files:
        try:
            with open(path, "rb", opener=_open) as file:  # pathlib has no opener
                hasher.update(f"{os.fstat(file.fileno()).st_size}\0".encode())  # so that cutting bytes otherwise differs
                while block := file.read(_BLOCK):
                    hasher.update(block)
        except OSError as error:
            raise DataError(f"{path}: expected a readable file, found: {error.strerror}; restore it") from error
    return hasher.hexdigest()
