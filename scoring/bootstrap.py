"""Confidence intervals over videos: how much a number would change had other videos of the same kind been filmed.

Frames of a video resemble each other, so that drawing frames would pretend to far more evidence than there is; whole videos
are drawn, with replacement, as many as there are (Efron's percentile bootstrap, clustered by video).
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
LEAST_DEFINED = 0.5
"""Share of the samples in which a number must be defined, else there is no interval: it would be of chosen samples."""

Floats = NDArray[np.float64]
Interval = list[float] | None
Statistic = Callable[[Floats], Mapping[str, Floats]]
"""How often each video counts in each sample (B, V) -> name -> value in each sample (B,), NaN where undefined."""


def draw_weights(videos: int, samples: int, seed: int) -> Floats:
    """Return how often each video was drawn in each sample, (B, V) float64, rows summing to V; equal for equal arguments."""
    drawn_BV = np.random.default_rng(seed).integers(0, videos, (samples, videos))
    offset_B1 = videos * np.arange(samples)[:, None]
    counts = np.bincount((drawn_BV + offset_B1).ravel(), minlength=samples * videos)
    return counts.reshape(samples, videos).astype(np.float64)


def bootstrap(statistic: Statistic, videos: int, *, samples: int, seed: int, at_once: int = 1) -> dict[str, Interval]:
    """Return the lower and upper end of the 95 % interval of each value of ``statistic``, which gets ``at_once`` samples.

    Samples in which a value is undefined, as where all drawn videos are normal, are left out of its interval; None if those
    are more than half, or there is no video.
    """
    if not videos or not samples:
        return dict.fromkeys(statistic(np.ones((1, videos))), None)
    weight_BV = draw_weights(videos, samples, seed)
    parts = [statistic(weight_BV[first : first + at_once]) for first in range(0, samples, at_once)]
    return {name: interval(np.concatenate([part[name] for part in parts])) for name in parts[0]}


def interval(value_B: Floats) -> Interval:
    """Return the central 95 % of the values that are defined (no NaN); None if those are fewer than half."""
    defined = value_B[~np.isnan(value_B)]
    if not len(value_B) or len(defined) < LEAST_DEFINED * len(value_B):
        return None
    margin = (1 - CONFIDENCE) / 2
    return [float(end) for end in np.quantile(defined, (margin, 1 - margin))]
