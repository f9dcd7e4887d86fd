"""Which pixels of a frame differ from the empty scene: a background model of a fixed camera, without weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

SURE, POSSIBLE = 9.0, 5.0
"""Thresholds in standard deviations of the noise: what surely differs, and what belongs to it if it touches that."""
EDGE = 0.2
"""Share of the difference beside it below which a pixel is the soft rim of an object: lens, resizing, coarse colour."""
SHADOW = (0.55, 0.97)
"""A shadow dims brightness and colour alike, to this share of the background."""
SHADOW_TINT = 4.0
"""Standard deviations by which a shadow's colour may differ from that of the dimmed background."""
_QUARTILE = 0.3186  # lower quartile of the absolute value of a standard normal variable
_NEIGHBOURS = np.ones((5, 5), np.uint8)
_CELL = 16  # pixels; light is taken to change little over this


@dataclass(frozen=True, kw_only=True)
class Background:
    """The empty scene: ``empty_CHW`` and the standard deviation ``noise_CHW`` of an unoccupied pixel, both float32.

    Channels are brightness in 0..255 and, for colour video, the two colour differences of YCrCb around 0.
    """

    empty_CHW: Floats
    noise_CHW: Floats

    @property
    def channels(self) -> int:
        """1 for grey video, stored in whichever way, and 3 for colour."""
        return int(self.empty_CHW.shape[0])


def learn_background(frames_NHWC: Bytes) -> Background:
    """Learn the empty scene from frames (N, H, W, C) uint8 spread over a stretch of video, 30 or more of them.

    Each pixel is taken to look alike in more than a third of them, when nobody stands there, and different at other times:
    a median would show people where a crowd passes. The noise comes from the lower quartile of differences, after changes
    of light were removed, and is limited, so that places where many pass do not count as noisy.
    """
    opponent_NCHW = np.stack([_opponent(frame_HWC) for frame_HWC in frames_NHWC])
    if not opponent_NCHW[:, 1:].any():
        opponent_NCHW = opponent_NCHW[:, :1]
    empty_CHW = _densest_value(opponent_NCHW)
    difference_NCHW = np.stack([_difference(frame_CHW, empty_CHW)[0] for frame_CHW in opponent_NCHW.astype(np.float32)])
    quartile_CHW = np.percentile(difference_NCHW, 25, axis=0).astype(np.float32)
    noise_CHW = np.stack([cv2.blur(quartile_HW / _QUARTILE, (3, 3)) for quartile_HW in quartile_CHW])
    usual_C11 = np.maximum(0.5, np.median(noise_CHW, axis=(1, 2), keepdims=True))
    return Background(empty_CHW=empty_CHW, noise_CHW=np.clip(noise_CHW, usual_C11, 3 * usual_C11).astype(np.float32))


def merge_backgrounds(backgrounds: Sequence[Background]) -> Background:
    """Return the empty scene that several videos of one camera have in common: the median, so that one may be wrong."""
    empty_CHW = np.median([background.empty_CHW for background in backgrounds], axis=0)
    noise_CHW = np.median([background.noise_CHW for background in backgrounds], axis=0)
    return Background(empty_CHW=empty_CHW.astype(np.float32), noise_CHW=noise_CHW.astype(np.float32))


def changed_share(background: Background, other: Background) -> float:
    """Return in which share of the frame two empty scenes differ, 0..1; of the same camera hardly anywhere."""
    if background.empty_CHW.shape != other.empty_CHW.shape:
        return 1.0
    difference_CHW, _ = _difference(background.empty_CHW, other.empty_CHW)
    return float(((difference_CHW / other.noise_CHW).max(axis=0) > SURE).mean())


def foreground(frame_HWC: Bytes, background: Background) -> Bools:
    """Return (H, W) bool, True where a frame (H, W, C) uint8 shows something that is not the empty scene.

    A pixel counts if it differs by :data:`POSSIBLE` standard deviations, and by :data:`EDGE` of what pixels beside it do,
    and hangs together with one that differs by :data:`SURE`. In colour, pixels that are merely dimmed are left out as
    shadow (Horprasert et al. 1999).
    """
    opponent_CHW = _opponent(frame_HWC)[: background.channels].astype(np.float32)
    difference_CHW, expected_CHW = _difference(opponent_CHW, background.empty_CHW)
    score_HW = (difference_CHW / background.noise_CHW).max(axis=0)
    if background.channels == 3:
        score_HW[_shadow(opponent_CHW, expected_CHW, background.noise_CHW)] = 0
    beside_HW = cv2.dilate(score_HW, _NEIGHBOURS)
    return _hysteresis(score_HW > np.maximum(POSSIBLE, EDGE * beside_HW), score_HW > SURE)


def whole_objects(foreground_HW: Bools, min_pixels: int) -> Bools:
    """Join what lies a little apart, one above the other, as head, trunk and legs do, and drop specks."""
    kernel = np.ones((2 * (len(foreground_HW) // 100) + 1, 1), np.uint8)
    closed_HW = cv2.morphologyEx(foreground_HW.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    count, labels_HW, stats, _ = cv2.connectedComponentsWithStats(closed_HW, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= max(3, min_pixels // 4)
    large[0] = False
    return np.asarray(large[labels_HW], np.bool_) if count else foreground_HW


def _opponent(frame_HWC: Bytes) -> NDArray[np.int16]:
    """Return brightness and the two colour differences around 0, (3, H, W) int16, or brightness alone."""
    if frame_HWC.shape[-1] == 1:
        return frame_HWC.transpose(2, 0, 1).astype(np.int16)
    planes = cv2.split(cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2YCrCb))
    return np.stack(planes).astype(np.int16) - np.array([0, 128, 128], np.int16)[:, None, None]


def _densest_value(values_NCHW: NDArray[np.int16]) -> Floats:
    """Return the mean of the shortest interval that holds a third of the values of a pixel, and of all close to it."""
    sorted_NCHW = np.sort(values_NCHW, axis=0)
    third = min(max(1, len(values_NCHW) // 3), len(values_NCHW) - 1)
    spread_NCHW = sorted_NCHW[third:] - sorted_NCHW[: len(values_NCHW) - third]
    start_1CHW = np.argmin(spread_NCHW, axis=0, keepdims=True)
    low_1CHW = np.take_along_axis(sorted_NCHW, start_1CHW, axis=0) - 2
    high_1CHW = np.take_along_axis(sorted_NCHW, start_1CHW + third, axis=0) + 2
    close_NCHW = (sorted_NCHW >= low_1CHW) & (sorted_NCHW <= high_1CHW)
    return np.asarray(np.mean(sorted_NCHW, axis=0, where=close_NCHW, dtype=np.float32), np.float32)


def _difference(opponent_CHW: Floats, empty_CHW: Floats) -> tuple[Floats, Floats]:
    """Return the smoothed absolute difference, and the background in the light of this frame, both (C, H, W).

    Brightness changes by a factor. Colour shifts by a little as well, with the light and with each block of a compressed
    picture: by so little that only a model this sensitive sees it, and then over half of the frame.
    """
    ratio_HW = np.asarray((opponent_CHW[0] + 1) / (empty_CHW[0] + 1), np.float32)
    expected_CHW = empty_CHW * _coarse_median(ratio_HW)
    for colour in range(1, len(expected_CHW)):
        expected_CHW[colour] += _coarse_median(opponent_CHW[colour] - expected_CHW[colour])
    return _smoothed(np.abs(opponent_CHW - expected_CHW)), expected_CHW


def _smoothed(planes_CHW: Floats) -> Floats:
    return np.stack([cv2.GaussianBlur(plane_HW, (3, 3), 0.7) for plane_HW in planes_CHW])


def _coarse_median(plane_HW: Floats) -> Floats:
    """Return (H, W) float32, what changed over large areas: medians over coarse cells, which people do not move."""
    height, width = plane_HW.shape
    half = _CELL // 2
    every_second_HW = plane_HW[::2, ::2]
    rows, columns = every_second_HW.shape[0] // half, every_second_HW.shape[1] // half
    cells = every_second_HW[: rows * half, : columns * half].reshape(rows, half, columns, half).transpose(0, 2, 1, 3)
    coarse = np.median(cells.reshape(rows, columns, -1), axis=-1).astype(np.float32)
    smooth = cv2.blur(cv2.medianBlur(coarse, 5), (3, 3))
    return np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _shadow(opponent_CHW: Floats, expected_CHW: Floats, noise_CHW: Floats) -> Bools:
    dimmed_HW = opponent_CHW[0] / np.maximum(expected_CHW[0], 1)
    tint_2HW = np.abs(opponent_CHW[1:] - expected_CHW[1:] * dimmed_HW)
    tint_HW = (_smoothed(tint_2HW) / noise_CHW[1:]).max(axis=0)
    return np.asarray((dimmed_HW > SHADOW[0]) & (dimmed_HW < SHADOW[1]) & (tint_HW < SHADOW_TINT), np.bool_)


def _hysteresis(possible_HW: Bools, sure_HW: Bools) -> Bools:
    """Return the connected regions of possible pixels that hold a sure one."""
    count, labels_HW = cv2.connectedComponents(possible_HW.astype(np.uint8), connectivity=8)
    kept = np.zeros(count, np.bool_)
    kept[labels_HW[possible_HW & sure_HW]] = True
    return np.asarray(kept[labels_HW], np.bool_)
