"""Looking a video over: everything that is wrong with it, found without decoding it, or with every frame decoded.

The inventory stops at the first problem of a video, since one is enough not to use it; here all of them are wanted. Of a
folder of images the header of every file is read and three are decoded; of a video file the first frame is, and the number
of frames is what the container claims.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np

from pipeline.config import CLIP_FRAMES
from pipeline.contract import Array, DataError, Video
from pipeline.datasets import reader
from pipeline.datasets.clocks import clock_of
from pipeline.datasets.containers import check_whole
from pipeline.datasets.cuts import count_kept, describe, rate_of
from pipeline.datasets.headers import Size, image_size, shown
from pipeline.datasets.images import decode_image, read_bytes, to_rgb
from pipeline.datasets.listing import ImageFiles, file_names, numbering_errors, where
from pipeline.datasets.remainders import is_left_aside, remark_on_remainder, too_short
from pipeline.datasets.remote import fetch
from pipeline.datasets.seen import see_file
from pipeline.datasets.uneven import remarks_on_repeats, remarks_on_times

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
    whole = Look(
        video=video, num_frames=frames, sizes=sizes, likeness=f"{frames} {likeness.hexdigest()}", problems=tuple(problems)
    )
    return _look_at_part(whole)


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
    problems: list[str] = []
    remarks: list[str] = []
    if problem := _no_file(path):
        return Look(video=video, num_frames=0, sizes=Counter(), problems=(problem,))
    may_be_damaged = video.cut is not None and video.cut.damaged
    cut_off = _cut_off(path)
    if cut_off and may_be_damaged:
        remarks.append(f"{cut_off}; what can be decoded is used")
    elif cut_off:
        problems.append(cut_off)
    made_up = 1 if cut_off and may_be_damaged else 0  # where it was cut off, a decoder makes a frame up
    try:
        seen = see_file(path, deep=deep, count=deep or made_up > 0)
    except DataError as error:
        return Look(video=video, num_frames=0, sizes=Counter(), problems=(*problems, str(error)))
    problems += seen.problems(path)
    if seen.is_damaged and not cut_off and not may_be_damaged:
        problems.append(
            f"{path}: expected {seen.claimed} frames as its header says, found {seen.frames} that can be decoded; it is "
            'damaged: copy or convert it anew, or use what is left of your recording (dataset.damaged = "use")'
        )
    else:
        remarks += seen.remarks(path)
    remarks += remarks_on_times(video, seen.time_T, seen.fps)
    whole = Look(
        video=video,
        num_frames=seen.frames - made_up if seen.exact else seen.claimed,
        exact=seen.exact,
        sizes=seen.sizes,
        fps=seen.fps,
        likeness=_file_likeness(video),
        problems=(*problems, *seen.wrong),
        remarks=tuple(remarks),
    )
    return _look_at_part(whole)


def _no_file(path: Path) -> str:
    """Return what there is to say of something that is no file, such as a pipe, which would be waited for; or empty."""
    if path.is_file():
        return ""
    if path.is_symlink() and not path.exists():
        return f"{path}: expected a file, found a link to {path.readlink()}, which is gone; restore that, or remove the link"
    return f"{path}: expected a file, found something else; remove it" if path.exists() else ""


def _cut_off(path: Path) -> str:
    """Return what there is to say of a file that was cut off; empty of others."""
    try:
        check_whole(path)
    except DataError as error:
        return str(error)
    return ""


def _look_at_part(whole: Look) -> Look:
    """Return a look at the part of a recording that counts, given one at the whole."""
    video, cut = whole.video, whole.video.cut
    if cut is None or not cut.selects:
        return whole
    try:
        clock = clock_of(video)
        frames = count_kept(cut, clock, whole.num_frames, where(video))
        fps = rate_of(cut, clock, where(video))
    except DataError as error:
        return replace(whole, num_frames=0, problems=(*whole.problems, str(error)))
    likeness = f"{whole.likeness} {describe(cut)}"
    part = replace(whole, num_frames=frames, fps=fps, likeness=likeness)
    if whole.num_frames and is_left_aside(video, frames):
        return replace(part, num_frames=0, remarks=(*whole.remarks, remark_on_remainder(video, frames)))
    if whole.num_frames and frames < CLIP_FRAMES:
        return replace(part, num_frames=0, problems=(*whole.problems, too_short(video, frames)))
    return replace(part, remarks=(*whole.remarks, *remarks_on_repeats(video, clock, frames)))


def _file_likeness(video: Video) -> str:
    try:
        with fetch(video.files[0]).open("rb") as file:
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
    """Return a hex hash of the content of all files, and of which part counts; raises DataError if one cannot be read."""
    hasher = blake2b(digest_size=16)
    if video.cut is not None:
        hasher.update(describe(video.cut).encode())
    for path in video.files:
        try:
            with open(fetch(path), "rb", opener=_open) as file:  # pathlib has no opener
                hasher.update(f"{os.fstat(file.fileno()).st_size}\0".encode())  # so that cutting bytes otherwise differs
                while block := file.read(_BLOCK):
                    hasher.update(block)
        except OSError as error:
            raise DataError(f"{path}: expected a readable file, found: {error.strerror}; restore it") from error
    return hasher.hexdigest()
