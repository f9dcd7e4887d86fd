"""Random strokes and boxes after LaMa (Suvorov et al., WACV 2022), moving smoothly over a clip."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import cv2
import numpy as np

from pipeline.config import MasksSettings
from pipeline.models.foreground import Bools

_ATTEMPTS = 50
_TRAVEL = 0.012  # most that a mask moves per frame, as a share of the frame's width: a person's walk


def strokes(rng: np.random.Generator, height: int, width: int) -> Bools:
    """Return (H, W) bool: one to three polylines of random angles, lengths and widths, joined at discs."""
    mask_HW = np.zeros((height, width), np.uint8)
    size = min(height, width)
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0.15, 0.85, 2) * (width, height)
        for number in range(int(rng.integers(1, 5))):
            angle = rng.uniform(0, 4) + (np.pi if number % 2 == 0 else 0)  # zigzag, as in LaMa
            length, thickness = rng.uniform(0.06, 0.3) * size, max(1, round(rng.uniform(0.03, 0.12) * size))
            right = float(np.clip(x + length * np.sin(angle), 0, width - 1))
            low = float(np.clip(y + length * np.cos(angle), 0, height - 1))
            cv2.line(mask_HW, (round(x), round(y)), (round(right), round(low)), 1, thickness)
            cv2.circle(mask_HW, (round(right), round(low)), thickness // 2, 1, -1)
            x, y = right, low
    return mask_HW.astype(np.bool_)


def boxes(rng: np.random.Generator, height: int, width: int) -> Bools:
    """Return (H, W) bool: one to three boxes."""
    mask_HW = np.zeros((height, width), np.bool_)
    size = min(height, width)
    for _ in range(int(rng.integers(1, 4))):
        high, wide = (round(side) for side in rng.uniform(0.06, 0.35, 2) * size)
        top, left = int(rng.integers(0, height - high + 1)), int(rng.integers(0, width - wide + 1))
        mask_HW[top : top + high, left : left + wide] = True
    return mask_HW


KINDS: tuple[Callable[[np.random.Generator, int, int], Bools], ...] = (strokes, boxes)


def random_stretches(
    frames: int, shape: tuple[int, int], settings: MasksSettings, rng: np.random.Generator
) -> Iterator[tuple[int, int, Bools]]:
    """Yield (start, stop, mask (stop - start, H, W) bool): a new mask every ``settings.hold`` frames or a few more."""
    for start, stop in stretches(0, frames, settings.hold):
        yield (
            start,
            stop,
            moving_mask(rng, stop - start, *shape, min_area=settings.min_area, max_area=settings.max_area),
        )


def stretches(start: int, stop: int, hold: int) -> list[tuple[int, int]]:
    """Cut a stretch of frames into parts of ``hold`` to less than twice as many frames; one part if it is shorter."""
    count = max(1, (stop - start) // hold)
    borders = [start + (stop - start) * number // count for number in range(count + 1)]
    return list(pairwise(borders))


def moving_mask(
    rng: np.random.Generator, frames: int, height: int, width: int, *, min_area: float, max_area: float
) -> Bools:
    """Return (T, H, W) bool: one random mask, its area within the two shares of the frame, in steady motion.

    Where chance finds no such mask (limits very close together) it is a centred box of an area between them.
    """
    for _ in range(_ATTEMPTS):
        mask_HW = KINDS[int(rng.integers(len(KINDS)))](rng, height, width)
        travel_2 = rng.uniform(-_TRAVEL, _TRAVEL, 2) * width * frames
        path_T2 = np.linspace(-0.5, 0.5, frames)[:, None] * travel_2 if frames > 1 else np.zeros((1, 2))
        mask_THW = np.stack([_moved(mask_HW, float(x), float(y)) for x, y in path_T2])
        areas_T = mask_THW.mean(axis=(1, 2))
        if areas_T.min() >= min_area and areas_T.max() <= max_area:
            return mask_THW
    return np.repeat(_box_of((min_area + max_area) / 2, height, width)[None], frames, axis=0)


def _moved(mask_HW: Bools, x: float, y: float) -> Bools:
    height, width = mask_HW.shape
    matrix = np.array([[1, 0, round(x)], [0, 1, round(y)]], np.float64)
    return cv2.warpAffine(mask_HW.astype(np.uint8), matrix, (width, height), flags=cv2.INTER_NEAREST).astype(np.bool_)


def _box_of(area: float, height: int, width: int) -> Bools:
    high, wide = max(1, round(height * area**0.5)), max(1, round(width * area**0.5))
    mask_HW = np.zeros((height, width), np.bool_)
    top, left = (height - high) // 2, (width - wide) // 2
    mask_HW[top : top + high, left : left + wide] = True
    return mask_HW
