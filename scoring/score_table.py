"""The scores of one protocol, wherever they come from, and every metric of their frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoring.bootstrap import CONFIDENCE
from scoring.events import event_metrics
from scoring.intervals import SEED, auc_intervals, rate_intervals
from scoring.metrics import PADDING, Floats, LabelledScores, overall, per_video

SAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """Scores of consecutive frames of each video, under one or several names."""

    frames: Mapping[str, NDArray[np.int64]]
    """Video -> (N,) which frames are scored, ascending."""
    labels: Mapping[str, NDArray[np.bool_]]
    """Video -> (N,) True = anomalous, of these frames; of the videos that have labels."""
    scores: Mapping[str, Mapping[str, Floats]]
    """Name -> video -> (N,), higher = more abnormal."""
    fps: Mapping[str, float]
    """Frames per second, 0 where unknown."""

    def labelled(self, name: str) -> LabelledScores:
        """Return labels and scores of the videos that have labels."""
        return {video: (label_N, self.scores[name][video]) for video, label_N in self.labels.items()}


def frame_metrics(table: ScoreTable, main: str, *, samples: int = SAMPLES) -> dict[str, dict[str, Any]]:
    """Return name -> metrics with their intervals, and those of each video; plain JSON values, None where undefined.

    Intervals of average precision and of the equal error rate take a second for a large dataset: only ``main`` has them.
    """
    found = {}
    for name in table.scores:
        videos = table.labelled(name)
        intervals = auc_intervals(videos, samples=samples)
        if name == main:
            intervals |= rate_intervals(videos, samples=samples)
        each = per_video(videos)
        own = {video: value["auc"] for video, value in each.items()}
        found[name] = {**overall(videos, own), "intervals": intervals, "per_video": each}
    return found


def events_of(table: ScoreTable, name: str, threshold: float | None) -> dict[str, Any] | None:
    """Return :func:`scoring.events.event_metrics` of one score; None without a threshold or without labels."""
    if threshold is None or not table.labels:
        return None
    return event_metrics(table.labelled(name), threshold, table.fps)


def conventions(samples: int) -> dict[str, Any]:
    """Return how the numbers above are to be read, for metrics.json."""
    bootstrap = {"samples": samples, "seed": SEED, "confidence": CONFIDENCE, "of": "videos"}
    return {"macro_padding": PADDING, "bootstrap": bootstrap}
