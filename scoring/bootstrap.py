"""Confidence intervals over videos: how much a number would change had other videos of the same kind been filmed.

Frames of a video resemble each other, so that drawing frames would pretend to far more evidence than there is; whole videos
are drawn, with replacement, as many as there are (Efron's percentile bootstrap, clustered by video).
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
LEAST_DEFINED = 0.5
"""Share of the samples in which a number must be defined, else there is no interval: it would be of chosen samples."""

Interval = list[float] | None
Statistic = Callable[[NDArray[np.float64]], Mapping[str, float | None]]


def draw_weights(videos: int, samples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each video was drawn, (V,) float64 summing to V; equal arguments give equal draws."""
    random = np.random.default_rng(seed)
    for _ in range(samples):
        yield np.bincount(random.integers(0, videos, videos), minlength=videos).astype(np.float64)


def bootstrap(statistic: Statistic, videos: int, *, samples: int, seed: int) -> dict[str, Interval]:
    """Return the lower and upper end of the 95 % interval of each value of ``statistic``.

    ``statistic`` is given how often each video counts. Samples in which a value is undefined (None), as where all drawn
    videos are normal, are left out of its interval; None if those are more than half, or there is no video.
    """
    if not videos or not samples:
        return dict.fromkeys(statistic(np.ones(videos)), None)
    drawn = [statistic(weight_V) for weight_V in draw_weights(videos, samples, seed)]
    return {name: interval([values[name] for values in drawn]) for name in drawn[0]}


def interval(values: list[float | None]) -> Interval:
    """Return the central 95 % of the values that are defined; None if those are fewer than half."""
    defined = [value for value in values if value is not None]
    if not values or len(defined) < LEAST_DEFINED * len(values):
        return None
    margin = (1 - CONFIDENCE) / 2
    return [float(end) for end in np.quantile(defined, (margin, 1 - margin))]
