"""Which pixels of a frame differ from the empty scene: a background model of a fixed camera, without weights."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

SURE, POSSIBLE = 9.0, 5.0
"""Thresholds in standard deviations of the noise: what surely differs, and what belongs to it if it touches that."""
SHADOW = (0.55, 0.97)
"""A shadow dims brightness and colour alike, to this share of the background."""
SHADOW_TINT = 4.0
"""Standard deviations by which a shadow's colour may differ from that of the dimmed background."""
_QUARTILE = 0.3186  # lower quartile of the absolute value of a standard normal variable
_CELL = 16  # pixels; light is taken to change little over this


@dataclass(frozen=True, kw_only=True)
class Background:
    """The empty scene: ``empty_HWC`` and the standard deviation ``noise_HWC`` of an unoccupied pixel, both float32.

    Channels are brightness in 0..255 and, for colour video, the two colour differences of YCrCb around 0.
    """

    empty_HWC: Floats
    noise_HWC: Floats

    @property
    def channels(self) -> int:
        """1 for grey video, stored in whichever way, and 3 for colour."""
        return int(self.empty_HWC.shape[2])


def learn_background(frames_NHWC: Bytes) -> Background:
    """Learn the empty scene from frames (N, H, W, C) uint8 spread over a stretch of video, 30 or more of them.

    Each pixel is taken to look alike in more than a third of them, when nobody stands there, and different at other times:
    a median would show people where a crowd passes. The noise comes from the lower quartile of differences, after changes
    of light were removed, and is limited, so that places where many pass do not count as noisy.
    """
    opponent_NHWC = np.stack([_opponent(frame_HWC) for frame_HWC in frames_NHWC])
    if not opponent_NHWC[..., 1:].any():
        opponent_NHWC = opponent_NHWC[..., :1]
    empty_HWC = _densest_value(opponent_NHWC)
    difference_NHWC = np.stack([_difference(frame_HWC, empty_HWC)[0] for frame_HWC in opponent_NHWC.astype(np.float32)])
    quartile_HWC = np.percentile(difference_NHWC, 25, axis=0).astype(np.float32)
    noise_HWC = cv2.blur(quartile_HWC / _QUARTILE, (3, 3)).reshape(empty_HWC.shape)
    usual_C = np.maximum(0.5, np.median(noise_HWC, axis=(0, 1)))
    return Background(empty_HWC=empty_HWC, noise_HWC=np.clip(noise_HWC, usual_C, 3 * usual_C).astype(np.float32))


def foreground(frame_HWC: Bytes, background: Background) -> Bools:
    """Return (H, W) bool, True where a frame (H, W, C) uint8 shows something that is not the empty scene.

    A pixel counts if it differs by :data:`POSSIBLE` standard deviations and hangs together with one that differs by
    :data:`SURE`. In colour, pixels that are merely dimmed are left out as shadow (Horprasert et al. 1999).
    """
    opponent_HWC = _opponent(frame_HWC)[..., : background.channels].astype(np.float32)
    difference_HWC, expected_HWC = _difference(opponent_HWC, background.empty_HWC)
    score_HW = (difference_HWC / background.noise_HWC).max(axis=-1)
    if background.channels == 3:
        score_HW[_shadow(opponent_HWC, expected_HWC, background.noise_HWC)] = 0
    return _hysteresis(score_HW > POSSIBLE, score_HW > SURE)


def _opponent(frame_HWC: Bytes) -> NDArray[np.int16]:
    """Return brightness and the two colour differences around 0, (H, W, 3) int16, or brightness alone."""
    if frame_HWC.shape[-1] == 1:
        return frame_HWC.astype(np.int16)
    return cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2YCrCb).astype(np.int16) - np.array([0, 128, 128], np.int16)


def _densest_value(values_NHWC: NDArray[np.int16]) -> Floats:
    """Return the mean of the shortest interval that holds a third of the values of a pixel, and of all close to it."""
    sorted_NHWC = np.sort(values_NHWC, axis=0)
    third = max(1, len(values_NHWC) // 3)
    start_1HWC = np.argmin(sorted_NHWC[third:] - sorted_NHWC[:-third], axis=0, keepdims=True)
    low_1HWC = np.take_along_axis(sorted_NHWC, start_1HWC, axis=0) - 2
    high_1HWC = np.take_along_axis(sorted_NHWC, start_1HWC + third, axis=0) + 2
    close_NHWC = (sorted_NHWC >= low_1HWC) & (sorted_NHWC <= high_1HWC)
    return np.asarray(np.mean(sorted_NHWC, axis=0, where=close_NHWC, dtype=np.float32), np.float32)


def _difference(opponent_HWC: Floats, empty_HWC: Floats) -> tuple[Floats, Floats]:
    """Return the smoothed absolute difference, and the background in the light of this frame, both (H, W, C)."""
    expected_HWC = empty_HWC * _light(opponent_HWC[..., 0], empty_HWC[..., 0])[..., None]
    difference_HWC = cv2.GaussianBlur(cv2.absdiff(opponent_HWC, expected_HWC), (3, 3), 0.7)
    return np.asarray(difference_HWC, np.float32).reshape(empty_HWC.shape), expected_HWC


def _light(frame_HW: Floats, empty_HW: Floats) -> Floats:
    """Return (H, W) float32, by how much the light changed: medians over coarse cells, which people do not move."""
    height, width = frame_HW.shape
    rows, columns = height // _CELL, width // _CELL
    ratio_HW = (frame_HW[::2, ::2] + 1) / (empty_HW[::2, ::2] + 1)
    half = _CELL // 2
    cells = ratio_HW[: rows * half, : columns * half].reshape(rows, half, columns, half).transpose(0, 2, 1, 3)
    gain = np.median(cells.reshape(rows, columns, -1), axis=-1).astype(np.float32)
    gain = cv2.blur(cv2.medianBlur(gain, 5), (3, 3))
    return np.asarray(cv2.resize(gain, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _shadow(opponent_HWC: Floats, expected_HWC: Floats, noise_HWC: Floats) -> Bools:
    dimmed_HW = opponent_HWC[..., 0] / np.maximum(expected_HWC[..., 0], 1)
    tint_HW2 = cv2.absdiff(opponent_HWC[..., 1:], expected_HWC[..., 1:] * dimmed_HW[..., None])
    tint_HW = (cv2.GaussianBlur(tint_HW2, (3, 3), 0.7) / noise_HWC[..., 1:]).max(axis=-1)
    return np.asarray((dimmed_HW > SHADOW[0]) & (dimmed_HW < SHADOW[1]) & (tint_HW < SHADOW_TINT), np.bool_)


def _hysteresis(possible_HW: Bools, sure_HW: Bools) -> Bools:
    """Return the connected regions of possible pixels that hold a sure one."""
    count, labels_HW = cv2.connectedComponents(possible_HW.astype(np.uint8), connectivity=8)
    kept = np.zeros(count, np.bool_)
    kept[labels_HW[possible_HW & sure_HW]] = True
    return np.asarray(kept[labels_HW], np.bool_)
