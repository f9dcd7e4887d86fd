"""Optical flow as colours, by the wheel of Baker et al. (IJCV 2011), as published flow pictures are made."""

import numpy as np
from numpy.typing import NDArray

_STEPS = (15, 6, 4, 11, 13, 6)  # red to yellow, green, cyan, blue, magenta, red: as many as the eye tells apart
_CORNERS = ((255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255))


def colour_wheel() -> NDArray[np.uint8]:
    """Return the 55 hues of the wheel, (55, 3) uint8 RGB, as the authors' program makes them."""
    hues = []
    for number, steps in enumerate(_STEPS):
        first_3, second_3 = np.array(_CORNERS[number]), np.array(_CORNERS[(number + 1) % len(_STEPS)])
        for step in range(steps):
            part = 255 * step // steps
            hues.append(np.where(first_3 < second_3, part, np.where(first_3 > second_3, 255 - part, first_3)))
    return np.asarray(hues, np.uint8)


def flow_colours(flow_2HW: NDArray[np.floating], full: float) -> NDArray[np.uint8]:
    """Return a flow field by the colour wheel, (H, W, 3) uint8 RGB: hue is direction, white stands still.

    Red moves to the right, yellow down, light blue to the left, violet up. ``full`` pixels per frame, or more, have full
    colour (the authors' program darkens what is above).
    """
    x_HW, y_HW = flow_2HW.astype(np.float32)
    wheel_N3 = colour_wheel().astype(np.float32)
    place_HW = (np.arctan2(-y_HW, -x_HW) / np.pi + 1) / 2 * (len(wheel_N3) - 1)
    low_HW = place_HW.astype(np.intp)
    share_HW1 = (place_HW - low_HW)[..., None]
    hue_HW3 = (1 - share_HW1) * wheel_N3[low_HW] + share_HW1 * wheel_N3[(low_HW + 1) % len(wheel_N3)]
    strength_HW1 = np.clip(np.hypot(x_HW, y_HW) / full, 0, 1)[..., None]
    return np.asarray(255 - strength_HW1 * (255 - hue_HW3), np.uint8)
