"""Video files that were cut off: some decode without complaint, up to where a copy or a download stopped.

AVI and MP4 say in their headers how long they are. Where a header does not say (a recorder that was switched off), the
frames that are there count.
"""

from pathlib import Path
from typing import BinaryIO

from pipeline.contract import DataError
from pipeline.datasets.remote import fetch

_TOLERANCE = 64  # bytes; some writers of AVI count their own header twice
_UNKNOWN = 0xFFFF_FF00  # sizes from here on stand for "not known yet"
_BOXES = frozenset({b"ftyp", b"free", b"mdat", b"moof", b"moov", b"skip", b"styp", b"wide"})


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


def _claimed_size(file: BinaryIO, size: int) -> int:
    """Return how long the file should be at least, as far as its header tells; 0 if it does not."""
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"AVI ":
        length = int.from_bytes(head[4:8], "little")
        return 0 if length >= _UNKNOWN else 8 + length
    end = 0
    while end < size:
        file.seek(end)
        box = file.read(16)
        if box[4:8] not in _BOXES:  # no MP4, or something behind it
            break
        length = int.from_bytes(box[:4], "big")
        if length == 1:
            length = int.from_bytes(box[8:], "big")
        if length < 8:  # 0 = up to the end of the file
            break
        end += length
    return end
