"""A small drawing surface for one actor: antialiased, with coverage, placed to a fraction of a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np

from pipeline.synthetic.texture import ByteArray, Colour, FloatArray, as_float

Point = tuple[float, float]
_SHIFT = 4
_ONE = 1 << _SHIFT


def shaded(colour: Colour, factor: float) -> Colour:
    """Return ``colour`` (RGB 0..255) made lighter or darker, clipped to 0..255."""
    red, green, blue = (min(255.0, max(0.0, channel * factor)) for channel in colour)
    return red, green, blue


@dataclass(kw_only=True)
class Canvas:
    """Drawing surface in body units: one unit is the standing height of the actor, origin at the feet, y upwards.

    Parameters
    ----------
    x, y : float
        Where the origin lies in the picture, in pixels.
    unit : float
        Pixels of the picture per body unit.
    facing : float
        1 to the right, -1 to the left; between them the actor is turning round and looks narrower.
    tilt : float
        0 upright, 1 lying on the ground, head first in the direction of ``facing``.
    reach : tuple of float
        How far the drawing extends from the origin: to either side, upwards, downwards, in body units.
    """

    x: float
    y: float
    unit: float
    facing: float = 1.0
    tilt: float = 0.0
    reach: tuple[float, float, float] = (0.62, 1.12, 0.1)
    pixels: ByteArray = field(init=False)

    def __post_init__(self) -> None:
        # Small actors are drawn larger and reduced, so that a limb never thins out to nothing.
        self._super = int(max(2, np.ceil(110 / max(self.unit, 1.0))))
        side, up, down = self.reach
        self.left = int(np.floor(self.x - side * self.unit)) - 1
        self.top = int(np.floor(self.y - up * self.unit)) - 1
        self.columns = int(np.ceil(2 * side * self.unit)) + 3
        self.rows = int(np.ceil((up + down) * self.unit)) + 3
        self.pixels = np.zeros((self.rows * self._super, self.columns * self._super, 4), np.uint8)
        angle = self.tilt * np.pi / 2 * (1 if self.facing >= 0 else -1)
        self._cos, self._sin = float(np.cos(angle)), float(np.sin(angle))

    def _device(self, point: Point) -> tuple[int, int]:
        x, y = point[0] * self.facing, point[1]
        x, y = x * self._cos + y * self._sin, y * self._cos - x * self._sin
        column = (self.x + x * self.unit - self.left) * self._super
        row = (self.y - y * self.unit - self.top) * self._super
        return round((column - 0.5) * _ONE), round((row - 0.5) * _ONE)

    def _length(self, length: float) -> float:
        return length * self.unit * self._super

    def limb(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a round-ended stroke through ``points``, ``width`` body units wide."""
        thickness = max(1, round(self._length(width)))
        for start, end in pairwise(points):
            cv2.line(
                self.pixels, self._device(start), self._device(end), (*colour, 255.0), thickness, cv2.LINE_AA, _SHIFT
            )

    def disc(self, centre: Point, radius: float, colour: Colour, outline: float = 0.0) -> None:
        """Draw a filled circle, or a ring where ``outline`` gives the width of its line."""
        thickness = max(1, round(self._length(outline))) if outline else -1
        cv2.circle(
            self.pixels,
            self._device(centre),
            round(self._length(radius) * _ONE),
            (*colour, 255.0),
            thickness,
            cv2.LINE_AA,
            _SHIFT,
        )

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill a polygon."""
        corners = np.array([self._device(point) for point in points], np.int32)
        cv2.fillPoly(self.pixels, [corners], (*colour, 255.0), cv2.LINE_AA, _SHIFT)

    def finish(self, sun: float) -> FloatArray:
        """Return sprite_HW4, float32: premultiplied RGB (0..255) and coverage (0..1), lit from the side of the sun.

        ``sun`` is -1 for light from the left, 1 from the right.
        """
        small = as_float(cv2.resize(self.pixels, (self.columns, self.rows), interpolation=cv2.INTER_AREA))
        small[..., 3] /= 255
        volume = as_float(cv2.GaussianBlur(small[..., 3], (0, 0), max(0.6, 0.03 * self.unit)))
        slope = as_float(cv2.Sobel(volume, cv2.CV_32F, 1, 0, ksize=3))
        small[..., :3] *= np.clip(1 - 0.45 * sun * slope, 0.6, 1.35)[..., None]
        return small
