"""The random streams drawn from the seed of a synthetic dataset, and which video gets which kind of anomaly."""

from __future__ import annotations

import numpy as np

from pipeline.config import SyntheticSettings

GENERATOR_VERSION = 1
KINDS = ("cyclist", "cart", "runner", "against", "bag", "lying")
SPLITS = ("train", "test")
MIN_VISIBLE_FRACTION = 0.0004


def video_count(settings: SyntheticSettings, split: str) -> int:
    """Return the number of videos of ``split``; raises ValueError for an unknown split."""
    return settings.train_videos if split_code(split) == 0 else settings.test_videos


def split_code(split: str) -> int:
    """Return 0 for ``train`` and 1 for ``test``; raises ValueError for anything else."""
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}: expected one of {', '.join(SPLITS)}.")
    return SPLITS.index(split)


def scene_rng(seed: int) -> np.random.Generator:
    """Return the stream of the scene, shared by all videos of a dataset (one fixed camera)."""
    return np.random.default_rng([seed, 10])


def plan_rng(seed: int) -> np.random.Generator:
    """Return the stream that deals the kinds of anomalies out to the test videos."""
    return np.random.default_rng([seed, 11])


def video_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """Return the stream of one video, independent of how many others are rendered, or in which order."""
    return np.random.default_rng([seed, 12, split_code(split), index])


def kinds_of_test_videos(settings: SyntheticSettings) -> tuple[str | None, ...]:
    """Return the kind of anomaly of each test video, None where there is none (about 1 video in 5).

    Every kind comes once before any comes twice, so that ten videos hold all of them.
    """
    count = settings.test_videos
    rng = plan_rng(settings.seed)
    normal = round(0.2 * count) if count > 2 else 0
    kinds: list[str | None] = [None] * normal
    while len(kinds) < count:
        kinds += [str(kind) for kind in rng.permutation(KINDS)][: count - len(kinds)]
    order = rng.permutation(count)
    return tuple(kinds[i] for i in order)


def min_visible_pixels(height: int, width: int) -> int:
    """Return how many visible pixels an anomalous actor needs to count: 0.04 % of the picture, at least 6."""
    return max(6, round(MIN_VISIBLE_FRACTION * height * width))
