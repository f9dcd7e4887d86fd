"""Flow fields as files that other programs read and write: Middlebury ``.flo`` and the 16-bit PNG of KITTI.

A vector that is not known is NaN here. Middlebury's files have a value above 1e9 in its place, KITTI's a third channel of 0.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError

MAGIC = b"PIEH"  # 202021.25 as little-endian float32, which tells a file of the other byte order
UNKNOWN = 1e9  # of Middlebury: components above it
KITTI_STEP = 64  # parts of a pixel
KITTI_ZERO = 1 << 15
Flow = NDArray[np.float32]


def write_flo(path: Path, flow_2HW: NDArray[np.floating]) -> None:
    """Write flow (2, H, W), pixels, as Baker et al. (IJCV 2011) do; float32, so that stored flow is kept exactly."""
    height, width = flow_2HW.shape[1:]
    known_2HW = np.where(np.isnan(flow_2HW), 10 * UNKNOWN, flow_2HW.astype("<f4")).astype("<f4")
    sizes = np.array([width, height], "<i4").tobytes()
    path.write_bytes(MAGIC + sizes + np.ascontiguousarray(known_2HW.transpose(1, 2, 0)).tobytes())


def read_flo(path: Path) -> Flow:
    """Return flow (2, H, W) float32, pixels; DataError if the file is cut off or no ``.flo`` file."""
    data = path.read_bytes()
    if len(data) < 12 or data[:4] != MAGIC:
        raise DataError(f"{path}: expected a Middlebury flow file, which begins with PIEH, found {data[:4]!r}; copy it anew")
    width, height = np.frombuffer(data, "<i4", 2, 4).tolist()
    if width < 1 or height < 1 or len(data) != 12 + 8 * width * height:
        raise DataError(f"{path}: expected {width} x {height} vectors, found {len(data)} bytes; copy it anew")
    flow_2HW = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2).transpose(2, 0, 1).astype(np.float32)
    flow_2HW[:, (np.abs(flow_2HW) > UNKNOWN).any(axis=0)] = np.nan
    return flow_2HW


def write_kitti(path: Path, flow_2HW: NDArray[np.floating]) -> None:
    """Write flow (2, H, W), pixels, as KITTI's development kit does: rounded to the nearest 64th of a pixel (ties to even).

    Raises
    ------
    ValueError
        A component is outside of -512 .. 511.98 pixels, which the format cannot hold.
    """
    known_HW = ~np.isnan(flow_2HW).any(axis=0)
    value_2HW = np.rint(np.where(known_HW, flow_2HW, 0).astype(np.float64) * KITTI_STEP) + KITTI_ZERO
    if value_2HW.min() < 0 or value_2HW.max() >= 1 << 16:
        most = np.nanmax(np.abs(flow_2HW))
        raise ValueError(f"{path}: KITTI's format holds components of -512 to 511.98 pixels, found {most:.1f}; use flo")
    value_2HW = np.where(known_HW, value_2HW, 0)
    bgr_HWC = np.dstack([known_HW, value_2HW[1], value_2HW[0]]).astype(np.uint16)  # red x, green y, blue known
    path.write_bytes(cv2.imencode(".png", bgr_HWC)[1].tobytes())


def read_kitti(path: Path) -> Flow:
    """Return flow (2, H, W) float32, pixels; DataError if the file is no PNG of three 16-bit channels."""
    image = cv2.imdecode(np.frombuffer(path.read_bytes() or b"\0", np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint16 or image.ndim != 3 or image.shape[2] != 3:
        found = "no image" if image is None else f"{image.dtype} {image.shape}"
        raise DataError(f"{path}: expected a PNG of three 16-bit channels, found {found}; copy it anew")
    xy_2HW = image[..., :0:-1].transpose(2, 0, 1).astype(np.float32)
    flow_2HW = np.asarray((xy_2HW - KITTI_ZERO) / KITTI_STEP, np.float32)
    flow_2HW[:, image[..., 0] == 0] = np.nan
    return flow_2HW


class FlowFormat(NamedTuple):
    """How flow is kept in files of one kind."""

    suffix: str
    write: Callable[[Path, NDArray[np.floating]], None]
    read: Callable[[Path], Flow]


FORMATS = {"flo": FlowFormat(".flo", write_flo, read_flo), "kitti": FlowFormat(".png", write_kitti, read_kitti)}
