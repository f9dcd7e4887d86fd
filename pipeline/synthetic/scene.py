"""The scene of one fixed camera: the street, what stands on it and hides people, the sun, the rules of the stream."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from pipeline.synthetic.canvas import Canvas, shaded
from pipeline.synthetic.ground import HORIZON, STRIP, draw_background
from pipeline.synthetic.settings import scene_rng
from pipeline.synthetic.texture import Colour, FloatArray, as_float

LANES = {"far": (0.44, 0.575), "near": (0.755, 0.94)}
"""Where feet stand on the far and the near pavement, as shares of the picture's height."""


@dataclass(frozen=True, kw_only=True)
class Sun:
    """Where the light comes from: ``side`` -1 left or 1 right, length and darkness of shadows."""

    side: float
    length: float
    darkness: float


@dataclass(frozen=True, kw_only=True)
class Occluder:
    """A thing that hides what is behind it: sprite_HW4 premultiplied, its corner in pixels, its foot ``v``."""

    sprite_HW4: FloatArray
    left: int
    top: int
    v: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One street as the camera sees it; ``stream`` is the direction of the near lane, the far lane goes the other way."""

    background_HWC: FloatArray
    occluders: tuple[Occluder, ...]
    sun: Sun
    stream: int

    @property
    def height(self) -> int:
        """Height of the picture in pixels."""
        return int(self.background_HWC.shape[0])

    @property
    def width(self) -> int:
        """Width of the picture in pixels."""
        return int(self.background_HWC.shape[1])

    def direction(self, lane: str) -> int:
        """Return 1 where the stream of ``lane`` goes to the right, -1 where it goes to the left."""
        return self.stream if lane == "near" else -self.stream


def body_height(v: float) -> float:
    """Return the height of a person whose feet are at ``v``, both as shares of the picture's height."""
    return 0.262 * (v - HORIZON)


@lru_cache(maxsize=128)
def make_scene(seed: int, height: int, width: int) -> Scene:
    """Return the scene of ``seed`` for a picture of ``height`` x ``width`` pixels; do not write into its arrays."""
    rng = scene_rng(seed)
    sun = Sun(
        side=float(rng.choice([-1.0, 1.0])), length=float(rng.uniform(0.25, 0.45)), darkness=float(rng.uniform(0.3, 0.5))
    )
    stream = int(rng.choice([-1, 1]))
    background = draw_background(rng, height, width)
    occluders = _place_occluders(rng, height, width, sun)
    for occluder in occluders:
        cast_shadow(background, occluder.sprite_HW4[..., 3], (occluder.left, occluder.top), occluder.v, sun, 1.0)
    return Scene(background_HWC=background, occluders=tuple(occluders), sun=sun, stream=stream)


def cast_shadow(
    light_HWC: FloatArray, cover_HW: FloatArray, corner: tuple[int, int], v: float, sun: Sun, strength: float
) -> None:
    """Darken ``light_HWC`` by the soft shadow of a shape that stands on the ground at ``v``."""
    height, width = light_HWC.shape[:2]
    foot = v * height - corner[1]
    reach = round(cover_HW.shape[0] * sun.length * 1.4) + 4
    # A shadow is the shape laid down: flattened, and sheared away from the sun.
    flat = 0.28
    shear = -sun.side * sun.length * 1.3
    left, top = corner[0] - reach, round(v * height - cover_HW.shape[0] * flat) - 3
    rows, columns = round(cover_HW.shape[0] * flat) + 12, cover_HW.shape[1] + 2 * reach
    matrix = np.array(
        [[1, -shear, corner[0] - left + shear * foot], [0, flat, v * height - top - flat * foot]], np.float64
    )
    laid = as_float(cv2.warpAffine(cover_HW, matrix, (columns, rows)))
    laid = as_float(cv2.GaussianBlur(laid, (0, 0), max(0.8, 0.006 * height)))
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + columns, width), min(top + rows, height)
    if x1 < x2 and y1 < y2:
        part = laid[y1 - top : y2 - top, x1 - left : x2 - left, None]
        light_HWC[y1:y2, x1:x2] *= 1 - sun.darkness * strength * part


def _place_occluders(rng: np.random.Generator, height: int, width: int, sun: Sun) -> list[Occluder]:
    """Put two to four things on the strip, not too close together, and perhaps a trunk or a post before the near lane."""
    drawers = [_lamp_post, _tree, _bench, _litter_bin]
    count = int(rng.integers(2, 5))
    slots = (np.arange(count) + rng.uniform(0.2, 0.8, count)) / count
    occluders = []
    for slot, choice in zip(slots, rng.permutation(4)[:count], strict=True):
        v = STRIP[0] + 0.6 * (STRIP[1] - STRIP[0])
        unit = body_height(v) * height
        canvas = Canvas(x=float(slot * width), y=v * height, unit=unit, reach=(1.5, 2.4, 0.1))
        drawers[int(choice)](rng, canvas)
        occluders.append(_occluder(canvas, v, sun))
    if rng.random() < 0.6:
        v = 0.985
        canvas = Canvas(x=float(rng.uniform(0.1, 0.9)) * width, y=v * height, unit=0.29 * height, reach=(0.3, 0.6, 0.1))
        _bollard(rng, canvas)
        occluders.append(_occluder(canvas, v, sun))
    return occluders


def _occluder(canvas: Canvas, v: float, sun: Sun) -> Occluder:
    return Occluder(sprite_HW4=canvas.finish(sun.side), left=canvas.left, top=canvas.top, v=v)


def _lamp_post(rng: np.random.Generator, canvas: Canvas) -> None:
    metal: Colour = shaded((66, 74, 72), float(rng.uniform(0.7, 1.3)))
    canvas.limb([(0, 0), (0, 0.3)], 0.1, shaded(metal, 0.9))
    canvas.limb([(0, 0.2), (0, 2.0)], 0.055, metal)
    canvas.limb([(0, 2.0), (0.3, 2.12)], 0.035, metal)
    canvas.limb([(0.25, 2.1), (0.42, 2.1)], 0.07, (226, 222, 204))


def _tree(rng: np.random.Generator, canvas: Canvas) -> None:
    bark: Colour = shaded((98, 78, 60), float(rng.uniform(0.8, 1.15)))
    canvas.polygon([(-0.11, 0), (-0.065, 0.5), (-0.06, 1.5), (0.06, 1.5), (0.065, 0.5), (0.12, 0)], bark)
    for _ in range(14):
        x, y = float(rng.uniform(-0.05, 0.05)), float(rng.uniform(0.05, 1.2))
        canvas.limb([(x, y), (x, y + 0.1)], 0.012, shaded(bark, float(rng.uniform(0.65, 1.3))))
    for _ in range(170):
        angle, reach = float(rng.uniform(0, 2 * np.pi)), float(np.sqrt(rng.random()))
        x, y = 0.62 * reach * np.cos(angle), 1.75 + 0.48 * reach * np.sin(angle)
        tone = float(rng.uniform(0.6, 1.0)) + 0.35 * (y - 1.5)
        canvas.disc((x, y), float(rng.uniform(0.05, 0.11)), shaded((84, 112, 60), tone))


def _bench(rng: np.random.Generator, canvas: Canvas) -> None:
    wood: Colour = shaded((132, 92, 58), float(rng.uniform(0.8, 1.2)))
    for x in (-0.42, 0.42):
        canvas.limb([(x, 0.0), (x, 0.5)], 0.04, (54, 54, 56))
    for y, tone in ((0.5, 1.0), (0.41, 0.95), (0.32, 0.9), (0.24, 1.15), (0.2, 0.7)):
        canvas.limb([(-0.55, y), (0.55, y)], 0.055, shaded(wood, tone))


def _litter_bin(rng: np.random.Generator, canvas: Canvas) -> None:
    paint: Colour = shaded((62, 84, 74), float(rng.uniform(0.8, 1.2)))
    canvas.polygon([(-0.13, 0.02), (-0.16, 0.46), (0.16, 0.46), (0.13, 0.02)], paint)
    canvas.limb([(-0.15, 0.47), (0.15, 0.47)], 0.05, shaded(paint, 0.7))
    canvas.limb([(-0.14, 0.3), (0.14, 0.3)], 0.012, shaded(paint, 1.4))


def _bollard(rng: np.random.Generator, canvas: Canvas) -> None:
    metal: Colour = shaded((84, 86, 92), float(rng.uniform(0.7, 1.2)))
    canvas.limb([(0, 0.0), (0, 0.36)], 0.08, metal)
    canvas.disc((0, 0.4), 0.055, shaded(metal, 1.1))
    canvas.limb([(-0.03, 0.3), (0.03, 0.3)], 0.03, (200, 196, 186))
