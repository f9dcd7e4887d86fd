"""Video files that were cut off: some decode without complaint, up to where a copy or a download stopped.

AVI, MP4, Matroska (MKV, WebM), ASF (WMV) and FLV say in their headers how long they are. Where a header does not say (a
recorder that was switched off, and always in MPEG-TS), the frames that are there count. How many frames there should be,
only AVI and MP4 say; of other files OpenCV works it out from duration and rate.
"""

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2

from pipeline.contract import DataError
from pipeline.datasets.captures import capture_rate, claimed_frames
from pipeline.datasets.remote import fetch

_TOLERANCE = 64  # bytes; some writers of AVI count their own header twice
_UNKNOWN = 0xFFFF_FF00  # sizes from here on stand for "not known yet"
_BOXES = frozenset({b"ftyp", b"free", b"mdat", b"moof", b"moov", b"skip", b"styp", b"wide"})
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_FLV_SIZE = b"\x00\x08filesize\x00"
_NOTES = 4096  # bytes in which they are looked for
LOST_SHARE = 0.05
"""Of the frames that a header counts; if more than these cannot be decoded, the file is damaged."""
LOST_FRAMES = 5
"""As many may be missing from any file."""


def check_whole(path: Path) -> None:
    """Compare the size of a video file with what its header says.

    Raises
    ------
    DataError
        The file is shorter; both sizes are named.
    """
    try:
        size = path.stat().st_size
        with fetch(path).open("rb") as file:
            claimed = _claimed_size(file, size)
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, found: {error.strerror}") from error
    if claimed > size + _TOLERANCE:
        raise DataError(f"{path}: expected {claimed} bytes as its header says, found {size}; it was cut off: copy it anew")


def counted_frames(path: Path, capture: cv2.VideoCapture) -> int:
    """Return how many frames there are by the count in a file's header; 0 where there is none to go by.

    MP4 that is written in fragments has none, and of MP4 that was trimmed (it plays shorter than its frames would) less is
    decoded than is there.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    claimed = claimed_frames(capture)
    try:
        with fetch(path).open("rb") as file:
            head = file.read(12)
            if _is_avi(head):
                return claimed if 0 < _avi_length(head) < _UNKNOWN else 0
            boxes = {kind: start for kind, start, _ in _boxes(file, path.stat().st_size)}
            if b"moov" not in boxes or b"moof" in boxes:
                return 0
            played = _movie_seconds(file, boxes[b"moov"]) * capture_rate(capture, path)
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, found: {error.strerror}") from error
    return claimed if not lacks_frames(claimed, played) else 0


def lacks_frames(claimed: int, found: float) -> bool:
    """Say whether so many frames are missing that a file must be damaged: more than encoders hold back or count twice."""
    return claimed - found > max(LOST_FRAMES, LOST_SHARE * claimed)


def _claimed_size(file: BinaryIO, size: int) -> int:
    """Return how long the file should be at least, as far as its header tells; 0 if it does not."""
    head = file.read(12)
    if _is_avi(head):
        length = _avi_length(head)
        return 0 if length >= _UNKNOWN else 8 + length
    if head[:4] == _EBML:
        return _matroska_end(file)
    if head == _ASF[:12] or head[:3] == b"FLV":
        return _noted_size(head + file.read(_NOTES))
    return max((start + length for _, start, length in _boxes(file, size)), default=0)


def _is_avi(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:] == b"AVI "


def _avi_length(head: bytes) -> int:
    return int.from_bytes(head[4:8], "little")


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and length of the boxes of an MP4 file, as far as they tell their length; of other files, none."""
    end = 0
    while end < size:
        file.seek(end)
        box = file.read(16)
        if box[4:8] not in _BOXES:  # no MP4, or something behind it
            return
        length = int.from_bytes(box[:4], "big")
        if length == 1:
            length = int.from_bytes(box[8:], "big")
        if length < 8:  # 0 = up to the end of the file
            return
        yield box[4:8], end, length
        end += length


def _movie_seconds(file: BinaryIO, moov: int) -> float:
    """Return how long an MP4 file plays, as the box ``moov`` at this place tells; 0 if it does not."""
    file.seek(moov + 8)
    box = file.read(40)  # mvhd: length, kind, version and flags, two dates, units per second, duration
    if box[4:8] != b"mvhd":
        return 0.0
    width = 8 if box[8] else 4  # bytes of dates and duration
    scale_at = 12 + 2 * width
    scale = int.from_bytes(box[scale_at : scale_at + 4], "big")
    duration = int.from_bytes(box[scale_at + 4 : scale_at + 4 + width], "big")
    return duration / scale if scale else 0.0


def _matroska_end(file: BinaryIO) -> int:
    """Return where the segment of a Matroska file ends, which holds all but its header; 0 where it does not tell."""
    file.seek(len(_EBML))
    if (length := _read_size(file)) is None:
        return 0
    file.seek(length, 1)
    if file.read(len(_SEGMENT)) != _SEGMENT or (length := _read_size(file)) is None:
        return 0
    return file.tell() + length


def _noted_size(head: bytes) -> int:
    """Return the size that the properties of ASF or FLV files note; 0 where there is none, or the file was broadcast."""
    if (at := head.find(_ASF_PROPERTIES)) >= 0:
        flags = head[at + 88 : at + 89]
        return int.from_bytes(head[at + 40 : at + 48], "little") if flags and not flags[0] & 1 else 0
    if (at := head.find(_FLV_SIZE)) >= 0 and len(number := head[at + len(_FLV_SIZE) :][:8]) == 8:
        (size,) = struct.unpack(">d", number)
        return int(size) if math.isfinite(size) else 0
    return 0


def _read_size(file: BinaryIO) -> int | None:
    """Read a size of EBML, whose first bits tell its number of bytes; None where it is not known (all ones), or damaged."""
    first = file.read(1)
    if first in (b"", b"\0"):
        return None
    more = 8 - first[0].bit_length()
    bits = 7 * (more + 1)
    size = int.from_bytes(first + file.read(more), "big") & ((1 << bits) - 1)
    return None if size == (1 << bits) - 1 else size
