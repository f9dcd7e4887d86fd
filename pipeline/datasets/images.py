"""Single images: read, decoded, and refused where they are not 8-bit grey or RGB."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError
from pipeline.datasets.remote import fetch

Frames = NDArray[np.uint8]


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; raises DataError naming it."""
    try:
        return fetch(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, found: {error.strerror}") from error


def decode_image(data: bytes, path: Path) -> NDArray[Any]:
    """Decode an image file's bytes as they are stored: (H, W) or (H, W, C) in OpenCV's BGR order; raises DataError."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if image is None:
        raise DataError(f"{path}: expected an image, found {len(data)} bytes that OpenCV cannot read; copy it anew")
    return np.asarray(image)


def check_picture(image: NDArray[Any], name: str) -> Frames:
    """Return an image as OpenCV decodes it, (H, W) or (H, W, 1) grey or (H, W, 3) BGR, if it is uint8.

    Raises
    ------
    DataError
        It has 16 bits or an alpha channel: how to map these to 8-bit RGB is for the owner of the data to say.
    """
    channels = 1 if image.ndim == 2 else image.shape[2]
    if image.dtype != np.uint8 or channels not in (1, 3):
        raise DataError(
            f"{name}: expected 8-bit grey or RGB, found {image.dtype} with {channels} channel(s); "
            "convert the frames to 8 bits without transparency"
        )
    return image


def swap_to_rgb(picture: Frames, out: Frames | None = None) -> Frames:
    """Return (H, W, 3) RGB of what :func:`check_picture` let pass, in ``out`` where that is given."""
    code = cv2.COLOR_BGR2RGB if picture.ndim == 3 and picture.shape[2] == 3 else cv2.COLOR_GRAY2RGB
    return np.asarray(cv2.cvtColor(picture, code, dst=out), np.uint8)


def to_rgb(image: NDArray[Any], name: str) -> Frames:
    """Return (H, W, 3) uint8 RGB of an image as OpenCV decodes it; raises DataError as :func:`check_picture`."""
    return swap_to_rgb(check_picture(image, name))


def size_error(name: str, expected: tuple[int, int], found: tuple[int, int]) -> DataError:
    """Return the error for a frame whose (height, width) is not that of the frames before it."""
    return DataError(
        f"{name}: expected {expected[0]} x {expected[1]} pixels (height x width) like the frames before, "
        f"found {found[0]} x {found[1]}; all frames of a video must have one size"
    )
