"""Procedural textures of the scene: smooth noise, paving, bricks, leaves."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]
Colour = tuple[float, float, float]


def as_float(array: Any) -> FloatArray:
    """Return ``array`` as float32 (OpenCV's results carry no useful type)."""
    return np.asarray(array, dtype=np.float32)


def smooth_noise(rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 4) -> FloatArray:
    """Return noise_HW, float32, about -1..1, whose largest features are ``cell`` pixels wide."""
    total = np.zeros((height, width), np.float32)
    weight = 1.0
    for _ in range(octaves):
        rows, columns = (max(2, int(np.ceil(n / cell)) + 1) for n in (height, width))
        grid = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
        total += weight * as_float(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC))
        weight, cell = weight * 0.6, max(1.0, cell / 2.2)
    return total / 1.6


def tinted(tone_HW: FloatArray, colour: Colour) -> FloatArray:
    """Return picture_HWC, float32 0..255: ``colour`` multiplied by a tone around 1."""
    return tone_HW[..., None] * np.asarray(colour, np.float32)


def tile_tones(
    rng: np.random.Generator, column_HW: FloatArray, row_HW: FloatArray, *, joint: float, offset: float, spread: float
) -> FloatArray:
    """Return tone_HW, float32 around 1, of tiles given by running tile coordinates, with dark joints.

    ``joint`` is the width of a joint and ``offset`` the shift of every other row, both in tiles.
    """
    row_index = np.floor(row_HW)
    column = column_HW + offset * np.mod(row_index, 2)
    column_index = np.floor(column)
    table = rng.normal(1.0, spread, (61, 53)).astype(np.float32)
    tone = table[np.mod(row_index, 61).astype(int), np.mod(column_index, 53).astype(int)]
    inside = np.minimum(np.mod(column, 1), np.mod(row_HW, 1))
    return as_float(tone * np.where(inside < joint, 0.74, 1.0))


def foliage(rng: np.random.Generator, height: int, width: int, colour: Colour, leaf: float) -> FloatArray:
    """Return picture_HWC, float32 0..255, of leaves or grass with clumps about six times as large as a ``leaf``."""
    clumps = smooth_noise(rng, height, width, leaf * 6, 3)
    leaves = smooth_noise(rng, height, width, leaf, 2)
    picture = tinted(as_float(1 + 0.22 * clumps + 0.22 * leaves), colour)
    picture[..., 0] += 10 * clumps
    return picture
