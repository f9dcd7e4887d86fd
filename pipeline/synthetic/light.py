"""Light and sensor: drift, passing clouds, noise; what changes in the picture although nothing happens."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.synthetic.texture import FloatArray, as_float, smooth_noise


class Light:
    """The light of one video: a slow drift of the whole picture and clouds that pass over it."""

    def __init__(self, rng: np.random.Generator, frames: int, fps: int, height: int, width: int) -> None:
        time = np.arange(frames) / fps
        self._size = (width, height)
        level, period, phase = rng.uniform(0.92, 1.06), rng.uniform(8, 30), rng.uniform(0, 2 * np.pi)
        self._gain_T = level * (1 + 0.045 * np.sin(2 * np.pi * time / period + phase))
        self._tint = as_float(1 + rng.normal(0, 0.012, 3))
        self._clouds = smooth_noise(rng, 48, 512, 40, 2)
        self._depth = float(rng.uniform(0.02, 0.09))
        self._start, self._pace = float(rng.uniform(0, 100)), float(rng.uniform(0.5, 2.5)) / fps

    def field(self, frame: int) -> FloatArray:
        """Return light_HWC, float32 around 1, by which the picture of ``frame`` is multiplied."""
        offset = (self._start + frame * self._pace) % 400
        matrix = np.array([[1, 0, -offset], [0, 1, 0]], np.float64)
        patch = as_float(cv2.warpAffine(self._clouds, matrix, (64, 48), flags=cv2.INTER_LINEAR))
        clouds = as_float(cv2.resize(patch, self._size, interpolation=cv2.INTER_LINEAR))
        tone = float(self._gain_T[frame]) * (1 + self._depth * clouds)
        return as_float(tone[..., None] * self._tint)


class Sensor:
    """The camera's noise: photon noise that grows with brightness, and read-out noise."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        # One large field, read at a new place for every frame: as good as fresh noise and ten times as quick.
        self._rng = rng
        self._spare = 64
        self._field = rng.standard_normal((height + self._spare, width + self._spare, 3), dtype=np.float32)
        self._level = float(rng.uniform(1.6, 2.6))

    def expose(self, picture_HWC: FloatArray) -> FloatArray:
        """Return ``picture_HWC`` (float32, 0..255) slightly blurred by the lens, with noise."""
        height, width = picture_HWC.shape[:2]
        row, column = (int(n) for n in self._rng.integers(0, self._spare, 2))
        noise = self._field[row : row + height, column : column + width]
        soft = as_float(cv2.GaussianBlur(picture_HWC, (3, 3), 0.55))
        return as_float(soft + noise * (self._level * (0.6 + soft * (0.7 / 255))))
