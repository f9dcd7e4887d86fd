"""The colours of error maps."""

import cv2
import numpy as np


def heat_colours() -> list[list[int]]:
    """Return 256 RGB colours from little to much, which differ in lightness too, so that no kind of sight mixes them up."""
    steps_256 = np.arange(256, dtype=np.uint8).reshape(256, 1)
    table: list[list[int]] = cv2.applyColorMap(steps_256, cv2.COLORMAP_INFERNO)[:, 0, ::-1].tolist()
    return table
