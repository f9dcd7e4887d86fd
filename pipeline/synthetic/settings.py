"""What determines a synthetic dataset, and the random streams drawn from its seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GENERATOR_VERSION = 1
KINDS = ("cyclist", "cart", "runner", "against", "bag", "lying")
SPLITS = ("train", "test")
MIN_VISIBLE_FRACTION = 0.0004


@dataclass(frozen=True, kw_only=True)
class SyntheticSettings:
    """Settings of one synthetic dataset; equal settings give identical videos.

    Parameters
    ----------
    seed : int
        Chooses the scene, the people, the anomalies and their times.
    train_videos, test_videos : int
        Videos of the split that holds only normal behaviour, and of the split about 4 in 5 of which hold an anomaly.
    frames : int
        Frames per video, at least 16 (a clip).
    height, width : int
        Size of the picture in pixels, even numbers of at least 48 (video codecs store colour at half the size).
    fps : int
        Frames per second, 5 to 60; speeds are in body heights per second and do not depend on it.

    Raises
    ------
    ValueError
        If a setting is out of its range.
    """

    seed: int = 0
    train_videos: int = 8
    test_videos: int = 10
    frames: int = 150
    height: int = 240
    width: int = 320
    fps: int = 25

    def __post_init__(self) -> None:
        _check("seed", self.seed, 0, 2**63 - 1)
        _check("train_videos", self.train_videos, 0, 10_000)
        _check("test_videos", self.test_videos, 0, 10_000)
        _check("frames", self.frames, 16, 1_000_000)
        _check("fps", self.fps, 5, 60)
        for name, value in (("height", self.height), ("width", self.width)):
            _check(name, value, 48, 4096)
            if value % 2:
                raise ValueError(f"synthetic.{name} must be even, got {value}: use {value + 1}.")

    def videos(self, split: str) -> int:
        """Return the number of videos of ``split``; raises ValueError for an unknown split."""
        return self.train_videos if split_code(split) == 0 else self.test_videos


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"synthetic.{name} must lie in {low}..{high}, got {value}.")


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
