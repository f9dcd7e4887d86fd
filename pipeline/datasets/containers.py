"""Video files that were cut off: some decode without complaint, up to where a copy or a download stopped.

AVI, MP4, Matroska (MKV, WebM), ASF (WMV) and FLV say in their headers how long they are. Where a header does not say (a
recorder that was switched off, and always in MPEG-TS), the frames that are there count. How many frames there should be,
only AVI and MP4 say; of other files OpenCV works it out from duration and rate. AVI counts empty chunks too, by which it
tells that a frame was dropped, or that none was recorded for a while.
"""

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from pipeline.contract import DataError
from pipeline.datasets.captures import capture_rate, claimed_frames
from pipeline.datasets.clocks import packet_times
from pipeline.datasets.remote import fetch

_TOLERANCE = 64  # bytes; some writers of AVI count their own header twice
_UNKNOWN = 0xFFFF_FF00  # sizes from here on stand for "not known yet"
_BOXES = frozenset({b"ftyp", b"free", b"mdat", b"moof", b"moov", b"skip", b"styp", b"wide"})
_INDEX = np.dtype([("stream", "S2"), ("kind", "S2"), ("flags", "<u4"), ("place", "<u4"), ("size", "<u4")])
"""An entry of the index of AVI (idx1)."""
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
    decoded than is there. Of AVI, chunks that are empty are not counted.

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
                return _avi_frames(file, path, claimed) if 0 < _avi_length(head) < _UNKNOWN else 0
            boxes = {kind: (start, length) for kind, start, length in _boxes(file, path.stat().st_size)}
            if b"moov" not in boxes or b"moof" in boxes:
                return 0
            start, length = boxes[b"moov"]
            file.seek(start)
            seconds = _played_seconds(file.read(length)[8:])
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, found: {error.strerror}") from error
    return 0 if seconds is not None and lacks_frames(claimed, seconds * capture_rate(capture, path)) else claimed


def lacks_frames(claimed: int, found: float) -> bool:
    """Say whether so many frames are missing that a file must be damaged: more than encoders hold back or count twice."""
    return claimed - found > max(LOST_FRAMES, LOST_SHARE * claimed)


def _claimed_size(file: BinaryIO, size: int) -> int:
    """Return how long the file should be at least, as far as its header tells; 0 if it does not."""
    head = file.read(12)
    if _is_avi(head):
        return _avi_end(file, _avi_length(head))
    if head[:4] == _EBML:
        return _matroska_end(file)
    if head == _ASF[:12] or head[:3] == b"FLV":
        return _noted_size(head + file.read(_NOTES))
    return max((start + length for _, start, length in _boxes(file, size)), default=0)


def _is_avi(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:] == b"AVI "


def _avi_length(head: bytes) -> int:
    return int.from_bytes(head[4:8], "little")


def _avi_end(file: BinaryIO, length: int) -> int:
    """Return where the last part of an AVI file ends, of which large ones have several; 0 where it does not tell.

    ``length`` is that of the first part.
    """
    end = 0
    while 0 < length < _UNKNOWN:
        end += 8 + length
        file.seek(end + end % 2)
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"AVIX":
            return end
        end, length = end + end % 2, _avi_length(head)
    return 0


def _avi_frames(file: BinaryIO, path: Path, claimed: int) -> int:
    """Return how many of the frames that an AVI file claims are not empty: by its index, or else by its packets."""
    index = _avi_index(file)
    for stream in np.unique(index["stream"]):
        sizes = index["size"][(index["stream"] == stream) & np.isin(index["kind"], [b"dc", b"db"])]
        if len(sizes) == claimed:
            return int(np.count_nonzero(sizes))
    time_T = packet_times(path)  # the index is of the first part of a large file, or there is none
    return claimed if time_T is None else min(claimed, len(time_T))


def _avi_index(file: BinaryIO) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Return the entries of the index behind the frames of an AVI file; none where there is no index."""
    file.seek(12)
    while any(chunk := file.read(8)):  # kind and length
        length = _avi_length(chunk)
        if chunk[:4] == b"idx1":
            entries = file.read(length)
            return np.frombuffer(entries, _INDEX, count=len(entries) // _INDEX.itemsize)
        file.seek(length + length % 2, 1)
    return np.empty(0, _INDEX)


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


def _played_seconds(moov: bytes) -> float | None:
    """Return how long the picture of an MP4 file plays by its list of edits; None where there is none: then all of it does.

    Sound may play longer, and then so does the whole movie.
    """
    head = _inside(moov, b"mvhd")  # version and flags, two dates, units per second, duration
    scale_at = 4 + 2 * _width(head)
    scale = int.from_bytes(head[scale_at : scale_at + 4], "big")
    tracks = [track for kind, track in _kinds(moov) if kind == b"trak"]
    pictures = [track for track in tracks if _inside(track, b"mdia", b"hdlr")[8:12] == b"vide"]
    played = [_edited(edits) for track in pictures if (edits := _inside(track, b"edts", b"elst"))]
    return min(played) / scale if played and scale else None


def _edited(elst: bytes) -> int:
    """Return how long edits play, in units; what is empty (it begins at -1 of the track) does not count."""
    width = _width(elst)
    found = 0
    for at in range(8, len(elst), 2 * width + 4):
        if int.from_bytes(elst[at + width : at + 2 * width], "big", signed=True) >= 0:
            found += int.from_bytes(elst[at : at + width], "big")
    return found


def _width(box: bytes) -> int:
    """Return the bytes of durations and dates in a box of MP4."""
    return 8 if box[:1] == b"\1" else 4


def _inside(box: bytes, *kinds: bytes) -> bytes:
    """Return the content of the first box of a kind that lies in the content of another, and so on; empty if none does."""
    for kind in kinds:
        box = next((content for found, content in _kinds(box) if found == kind), b"")
    return box


def _kinds(box: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of the boxes in the content of another."""
    at = 0
    while (length := int.from_bytes(box[at : at + 4], "big")) >= 8:
        yield box[at + 4 : at + 8], box[at + 8 : at + length]
        at += length


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
