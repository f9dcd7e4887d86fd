"""How well scores rank anomalous frames above normal ones; undefined numbers are None, never 0 or 0.5."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

Labels = NDArray[np.bool_]
Floats = NDArray[np.float64]
LabelledScores = Mapping[str, tuple[Labels, Floats]]
"""Video id -> label (N,) True = anomalous, score (N,) higher = more abnormal; of the frames that are scored."""

PADDING = "each video padded with a normal frame of the lowest and an anomalous one of the highest score of all videos"
"""So that the AUC of a video of one class is defined, as published macro-AUCs have it (facts: scores in 0..1, 0 and 1)."""


def auc(label_N: Labels, score_N: Floats) -> float | None:
    """Return the area under the ROC curve, ties counted half; None unless both classes are there."""
    return None if one_class(label_N) else float(roc_auc_score(label_N, score_N))


def video_auc(label_N: Labels, score_N: Floats) -> float | None:
    """Return the same by counting pairs: of one video, scikit-learn checks its arguments for longer than that takes."""
    if one_class(label_N):
        return None
    normal_M, anomalous_P = np.sort(score_N[~label_N]), score_N[label_N]
    below_P = np.searchsorted(normal_M, anomalous_P, "left") + np.searchsorted(normal_M, anomalous_P, "right")
    return float(below_P.sum() / (2 * len(normal_M) * len(anomalous_P)))


def average_precision(label_N: Labels, score_N: Floats) -> float | None:
    """Return the mean precision over the anomalous frames, in order of score; None unless both classes are there."""
    return None if one_class(label_N) else float(average_precision_score(label_N, score_N))


def equal_error_rate(label_N: Labels, score_N: Floats) -> float | None:
    """Return the share of normal frames called anomalous where as large a share of anomalous ones is called normal.

    Between two thresholds of the ROC curve it is interpolated. None unless both classes are there.
    """
    if one_class(label_N):
        return None
    false_K, true_K, _ = roc_curve(label_N, score_N, drop_intermediate=False)
    return float(np.interp(0.0, false_K + true_K - 1, false_K))


def one_class(label_N: Labels) -> bool:
    """Return whether all frames are normal, all are anomalous, or there are none."""
    return len(label_N) == 0 or bool(label_N.all()) or not bool(label_N.any())


def overall(videos: LabelledScores, own: Mapping[str, float | None] | None = None) -> dict[str, float | None]:
    """Return the metrics of all videos together.

    ``micro_auc``, ``average_precision`` and ``equal_error_rate`` are over all frames together; ``macro_auc`` is the mean
    over videos, padded (:data:`PADDING`); ``mean_video_auc`` that over the videos that have both classes, without padding.
    ``own`` is the AUC of each video, where it is known already.
    """
    label_N, score_N = _pooled(videos)
    own = {video: video_auc(*pair) for video, pair in videos.items()} if own is None else own
    defined = [value for value in own.values() if value is not None]
    padded = [] if one_class(label_N) else list(padded_aucs(videos, own).values())
    return {
        "micro_auc": auc(label_N, score_N),
        "macro_auc": float(np.mean(padded)) if padded else None,
        "mean_video_auc": float(np.mean(defined)) if defined else None,
        "average_precision": average_precision(label_N, score_N),
        "equal_error_rate": equal_error_rate(label_N, score_N),
    }


def pooled_auc(videos: LabelledScores) -> float | None:
    """Return the micro-AUC alone."""
    return auc(*_pooled(videos))


def _pooled(videos: LabelledScores) -> tuple[Labels, Floats]:
    label_N = np.concatenate([np.zeros(0, np.bool_), *(label_N for label_N, _ in videos.values())])
    return label_N, np.concatenate([np.zeros(0), *(score_N for _, score_N in videos.values())])


def padded_aucs(videos: LabelledScores, own: Mapping[str, float | None]) -> dict[str, float]:
    """Return the AUC of each video with the padding that makes it defined (:data:`PADDING`), from its ``own`` without."""
    scores = [score_N for _, score_N in videos.values() if len(score_N)]
    ends = (min(map(np.min, scores)), max(map(np.max, scores))) if scores else (0.0, 1.0)
    return {video: _padded(label_N, score_N, own[video], *ends) for video, (label_N, score_N) in videos.items()}


def _padded(label_N: Labels, score_N: Floats, own: float | None, lowest: float, highest: float) -> float:
    """Add the pairs that the two padded frames make to those of the video; ties count half."""
    anomalous, normal = score_N[label_N], score_N[~label_N]
    above = (own or 0.0) * len(anomalous) * len(normal)
    above += np.sum(anomalous > lowest) + np.sum(anomalous == lowest) / 2
    above += np.sum(normal < highest) + np.sum(normal == highest) / 2
    above += 1.0 if lowest < highest else 0.5
    return float(above / ((len(anomalous) + 1) * (len(normal) + 1)))


def per_video(videos: LabelledScores) -> dict[str, dict[str, Any]]:
    """Return the AUC of each video by itself; where it is undefined, ``auc`` is None and ``undefined`` says why."""
    return {name: _one_video(label_N, score_N) for name, (label_N, score_N) in videos.items()}


def _one_video(label_N: Labels, score_N: Floats) -> dict[str, Any]:
    result: dict[str, Any] = {"auc": video_auc(label_N, score_N)}
    if one_class(label_N):
        result["undefined"] = "every frame is anomalous" if len(label_N) and label_N.all() else "every frame is normal"
    return result
