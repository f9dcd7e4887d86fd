"""How well scores rank anomalous frames above normal ones; undefined numbers are None, never 0 or 0.5."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

LabelledScores = Mapping[str, tuple[NDArray[np.bool_], NDArray[np.float64]]]
"""Video id -> label (N,) True = anomalous, score (N,) higher = more abnormal; of the frames that are scored."""


def auc(label_N: NDArray[np.bool_], score_N: NDArray[np.float64]) -> float | None:
    """Return the area under the ROC curve, ties counted half; None unless both classes are there."""
    return None if one_class(label_N) else float(roc_auc_score(label_N, score_N))


def average_precision(label_N: NDArray[np.bool_], score_N: NDArray[np.float64]) -> float | None:
    """Return the mean precision over the anomalous frames, in order of score; None unless both classes are there."""
    return None if one_class(label_N) else float(average_precision_score(label_N, score_N))


def one_class(label_N: NDArray[np.bool_]) -> bool:
    """Return whether all frames are normal, all are anomalous, or there are none."""
    return len(label_N) == 0 or bool(label_N.all()) or not bool(label_N.any())


def overall(videos: LabelledScores) -> dict[str, float | None]:
    """Return micro-AUC and average precision over the frames of all videos together."""
    if not videos:
        return {"micro_auc": None, "average_precision": None}
    label_N = np.concatenate([label_N for label_N, _ in videos.values()])
    score_N = np.concatenate([score_N for _, score_N in videos.values()])
    return {"micro_auc": auc(label_N, score_N), "average_precision": average_precision(label_N, score_N)}


def per_video(videos: LabelledScores) -> dict[str, dict[str, Any]]:
    """Return the AUC of each video by itself; where it is undefined, ``auc`` is None and ``undefined`` says why."""
    return {name: _one_video(label_N, score_N) for name, (label_N, score_N) in videos.items()}


def _one_video(label_N: NDArray[np.bool_], score_N: NDArray[np.float64]) -> dict[str, Any]:
    result: dict[str, Any] = {"auc": auc(label_N, score_N)}
    if one_class(label_N):
        result["undefined"] = "every frame is anomalous" if len(label_N) and label_N.all() else "every frame is normal"
    return result
