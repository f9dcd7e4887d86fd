"""Sizes of image files from their first bytes, and whether their last ones are there: a thousandth of the time of decoding.

OpenCV decodes a JPEG that was cut off without complaint and paints what is missing grey. Its end marker tells.
"""

import os
from pathlib import Path

from pipeline.contract import DataError
from pipeline.datasets.images import decode_image
from pipeline.datasets.remote import fetch

_HEAD = 1024  # bytes; enough for the size in nearly every file
_TAIL = 4096  # bytes in which the end marker is looked for: some programs append their own
_JPEG, _PNG, _BMP = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM"
_NO_FRAME = frozenset({0xC4, 0xC8, 0xCC})  # tables and extensions among the markers that begin a frame
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length

Size = tuple[int, int]


def shown(size: Size) -> str:
    """Return a (height, width) as it is printed."""
    return f"{size[0]} x {size[1]}"


def image_size(path: str) -> Size:
    """Return height and width in pixels of an image file that is whole.

    JPEG, PNG and BMP are not decoded; others are. ``path`` is a string, as making 300,000 paths would take longer.

    Raises
    ------
    DataError
        The file cannot be read, is no image or was cut off.
    """
    try:
        handle = os.open(fetch(Path(path)), os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer would be waited for
        try:
            return _size(handle, path)
        finally:
            os.close(handle)
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, found: {error.strerror}; restore it") from error


def _size(handle: int, path: str) -> Size:
    head = os.read(handle, _HEAD)
    size, end = _parse(head)
    if size is None:  # an unusual format, or much before the size, such as a preview
        rest = b""
        while block := os.read(handle, 1 << 20):
            rest += block
        head += rest
        size, end = _parse(head)
    if size is None:
        height, width = decode_image(head, Path(path)).shape[:2]
        return height, width
    length = os.lseek(handle, 0, os.SEEK_END)
    if isinstance(end, int):
        if length < end:
            raise DataError(f"{path}: expected {end} bytes as its header says, found {length}; it was cut off: copy it anew")
    elif not _has_end(handle, length, end):
        raise DataError(f"{path}: expected the end of an image, found none in {length} bytes; it was cut off: copy it anew")
    return size


def _has_end(handle: int, length: int, end: bytes) -> bool:
    if os.pread(handle, len(end), max(0, length - len(end))) == end:
        return True
    return end in os.pread(handle, _TAIL, max(0, length - _TAIL))


def _parse(data: bytes) -> tuple[Size | None, bytes | int]:
    """Return (height, width), None where ``data`` does not tell, and the end marker or the length of the file."""
    if data[:3] == _JPEG:
        return _jpeg_size(data), b"\xff\xd9"
    if data[:8] == _PNG and len(data) >= 24:
        return (_big(data[20:24]), _big(data[16:20])), b"IEND\xaeB`\x82"
    if data[:2] == _BMP and len(data) >= 26 and _little(data[14:18]) >= 40:  # height is negative where rows go down
        height = abs(int.from_bytes(data[22:26], "little", signed=True))
        return (height, _little(data[18:22])), _little(data[2:6])
    return None, b""


def _jpeg_size(data: bytes) -> Size | None:
    i = 2
    while i + 9 <= len(data):
        if data[i] != 0xFF:
            return None
        marker = data[i + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            return _big(data[i + 5 : i + 7]), _big(data[i + 7 : i + 9])
        if marker == 0xFF:
            i += 1
        elif marker in _ALONE:
            i += 2
        else:
            i += 2 + _big(data[i + 2 : i + 4])
    return None


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
