"""Optical flow as colours, and the colours of error maps."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Array


def flow_colours(flow_2HW: Array, full: float) -> NDArray[np.uint8]:
    """Return a flow field by the colour wheel, (H, W, 3) uint8 RGB: hue is direction, white stands still.

    Red moves to the right, and hues follow the clock: yellow-green down, cyan to the left, violet up. ``full`` pixels per
    frame, or more, have full colour.
    """
    x_HW, y_HW = flow_2HW.astype(np.float32)
    hue_HW = np.degrees(np.arctan2(y_HW, x_HW)) % 360
    strength_HW = np.clip(np.hypot(x_HW, y_HW) / full, 0, 1)
    hsv_HWC = np.dstack([hue_HW, strength_HW, np.ones_like(hue_HW)]).astype(np.float32)
    return np.asarray(np.rint(cv2.cvtColor(hsv_HWC, cv2.COLOR_HSV2RGB) * 255), np.uint8)


def heat_colours() -> list[list[int]]:
    """Return 256 RGB colours from little to much, which differ in lightness too, so that no kind of sight mixes them up."""
    steps_256 = np.arange(256, dtype=np.uint8).reshape(256, 1)
    table: list[list[int]] = cv2.applyColorMap(steps_256, cv2.COLORMAP_INFERNO)[:, 0, ::-1].tolist()
    return table
