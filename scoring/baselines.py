"""Scores that take no learning. A detector that does not beat them adds nothing on that dataset, whatever its number."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from pipeline.contract import Array

PERCENTILES = (95, 98, 99)
SPACE_SIGMA = 1 / 128  # share of the frame's height; 2 pixels of 256
TIME_SIGMA = 1.5  # frames
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What a trivial score is made of."""

    summary: str
    oracle: bool = False
    """It knows the test labels: what the dataset gives away, not a detector, and no bar to be beaten."""
    per_video: bool = True
    """False: left as it is where a protocol takes the min-max of each video, which would make it 0 everywhere."""


SMOOTHED = f"smoothed by a Gaussian of {SPACE_SIGMA:.4f} of the height and {TIME_SIGMA} frames to both sides"
MOTION: Mapping[str, str] = MappingProxyType(
    {
        "frame_difference": "mean absolute difference from the frame before",
        "flow_mean": "mean flow magnitude in the frame",
        **{f"flow_p{q}": f"{q}th percentile of flow magnitude in the frame" for q in PERCENTILES},
        **{f"flow_p{q}_smoothed": f"{q}th percentile of flow magnitude, {SMOOTHED}" for q in PERCENTILES},
    }
)
"""What :func:`motion_rows` measures, in the order of its columns."""

BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "time": Baseline(summary="share of the video that has passed"),
        "constant": Baseline(summary="share of anomalous frames in the video", oracle=True, per_video=False),
        "random": Baseline(summary=f"uniform noise, seed {SEED}"),
        **{name: Baseline(summary=summary) for name, summary in MOTION.items()},
    }
)


def motion_rows(frames_NHWC: Array, flow_P2HW: Array) -> NDArray[np.float64]:
    """Measure the motion between successive frames; smoothing over time is left to :func:`trivial_scores`.

    Parameters
    ----------
    frames_NHWC : (P+1, H, W, C) uint8.
    flow_P2HW : (P, 2, H, W) floating point, pixels per frame.

    Returns
    -------
    (P, M) float64, one column per name in MOTION; grey levels for the first, else pixels per frame.
    """
    pairs = zip(frames_NHWC[:-1], frames_NHWC[1:], flow_P2HW, strict=True)
    return np.array([_motion(*pair) for pair in pairs], np.float64).reshape(-1, len(MOTION))


def _motion(before_HWC: Array, after_HWC: Array, flow_2HW: Array) -> list[float]:
    difference = np.abs(after_HWC.astype(np.int16) - before_HWC).mean()
    magnitude_HW = np.hypot(*flow_2HW.astype(np.float32))
    smooth_HW = gaussian_filter(magnitude_HW, SPACE_SIGMA * len(magnitude_HW), mode="nearest")
    raw_Q, smooth_Q = (np.percentile(field_HW, PERCENTILES) for field_HW in (magnitude_HW, smooth_HW))
    return [difference, magnitude_HW.mean(), *raw_Q, *smooth_Q]


def trivial_scores(video: str, motion_PM: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return the score of every frame under every baseline without an oracle, (T,) float64 each, T = P + 1.

    Frame 0 has no frame before it: it takes the motion of frame 1. ``video`` is the id, which seeds the noise.
    """
    arriving_TM = np.concatenate([motion_PM[:1], motion_PM])
    scores = dict(zip(MOTION, arriving_TM.T, strict=True))
    for name in MOTION:
        if name.endswith("_smoothed"):
            scores[name] = gaussian_filter1d(scores[name], TIME_SIGMA, mode="nearest")
    frames = len(arriving_TM)
    return {"time": np.linspace(0.0, 1.0, frames), "random": noise(video, frames)} | scores


def constant_score(label_T: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the best score that is the same for all frames of a video, (T,) float64: its share of anomalous frames."""
    return np.full(len(label_T), float(label_T.mean()))


def noise(video: str, frames: int) -> NDArray[np.float64]:
    """Return uniform noise that depends on the video's id alone: other videos in the dataset do not change it."""
    digest = hashlib.blake2b(f"{SEED}/{video}".encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "big")).random(frames)
