"""ROC and precision-recall curves as few points as a picture needs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from scoring.metrics import auc, average_precision, one_class
from scoring.report.evaluation import Evaluation

MOST_POINTS = 300


def curves(evaluation: Evaluation, protocol: str) -> list[dict[str, Any]]:
    """Return the curves of every fused indicator and of the fused score, over all frames with labels.

    Empty where the labels do not hold both classes. Curves are ``[[x ...], [y ...]]``: false against true positive rate,
    recall against precision; ``at_threshold`` is where the calibrated threshold lies on both.
    """
    parts = [video.protocols[protocol] for video in evaluation.videos]
    label_N = np.concatenate([part.label_N for part in parts])
    labelled_N = label_N >= 0
    truth_M = label_N[labelled_N] == 1
    if one_class(truth_M):
        return []
    found: list[dict[str, Any]] = []
    for name in parts[0].score:
        score_M = np.concatenate([part.score[name] for part in parts])[labelled_N]
        false_K, true_K, _ = roc_curve(truth_M, score_M, drop_intermediate=True)
        precision_K, recall_K, _ = precision_recall_curve(truth_M, score_M, drop_intermediate=True)
        found.append(
            {
                "name": name,
                "auc": auc(truth_M, score_M),
                "average_precision": average_precision(truth_M, score_M),
                "roc": thinned(false_K, true_K),
                "precision_recall": thinned(recall_K[-2::-1], precision_K[-2::-1]),  # the last one is made up: recall 0
                "at_threshold": None,
            }
        )
    threshold = evaluation.threshold(protocol)
    if threshold is not None:
        found[-1]["at_threshold"] = operating_point(truth_M, score_M, threshold)
    return found


def operating_point(truth_M: NDArray[np.bool_], score_M: NDArray[np.float64], threshold: float) -> dict[str, float | None]:
    """Return the rates at a threshold; a score equal to it is an alarm. Precision is None where there is no alarm."""
    alarm_M = score_M >= threshold
    alarms = int(alarm_M.sum())
    return {
        "false_positive_rate": float(alarm_M[~truth_M].mean()),
        "true_positive_rate": float(alarm_M[truth_M].mean()),
        "precision": float(truth_M[alarm_M].mean()) if alarms else None,
    }


def thinned(x_K: NDArray[np.float64], y_K: NDArray[np.float64]) -> list[list[float]]:
    """Return a curve by points that lie about evenly along it, first and last among them."""
    length_K = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x_K), np.diff(y_K)))])
    wanted = np.searchsorted(length_K, np.linspace(0, length_K[-1], MOST_POINTS))
    chosen = np.unique(np.concatenate([wanted, [0, len(x_K) - 1]]))
    return [np.round(x_K[chosen], 4).tolist(), np.round(y_K[chosen], 4).tolist()]
