"""Confidence intervals of the metrics of frames: those of :func:`scoring.metrics.overall`, of videos drawn with replacement.

Nothing is sorted again for a sample. Areas under ROC curves need only how many pairs of frames of any two videos are in the
right order; of precision and of the equal error rate the sorted frames are kept, and a sample changes how often each counts.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scoring.bootstrap import Floats, Interval, bootstrap
from scoring.metrics import LabelledScores, padded_aucs

NUMBERS_AT_ONCE = 1 << 16  # of an array with one row per sample; larger ones leave the cache and take three times as long
SEED = 0


@dataclass(frozen=True, kw_only=True)
class PairCounts:
    """How often anomalous frames of one video score above normal ones of another, and the AUC of each video."""

    above_VV: Floats
    """Pairs of an anomalous frame of the first and a normal one of the second video in the right order; ties count half."""
    anomalous_V: Floats
    normal_V: Floats
    padded_V: Floats
    own_V: Floats
    """NaN where the video has one class."""

    @classmethod
    def of(cls, videos: LabelledScores) -> "PairCounts":
        """Count the pairs of all videos."""
        anomalous = [score_N[label_N] for label_N, score_N in videos.values()]
        owner_P = np.repeat(np.arange(len(videos)), [len(score_P) for score_P in anomalous])
        score_P = np.concatenate([np.zeros(0), *anomalous])
        order_P = np.argsort(score_P)
        owner_P, score_P = owner_P[order_P], score_P[order_P]
        columns = []
        for label_N, score_N in videos.values():
            normal_M = np.sort(score_N[~label_N])
            below_P = np.searchsorted(normal_M, score_P, "left") + np.searchsorted(normal_M, score_P, "right")
            columns.append(np.bincount(owner_P, below_P / 2, len(videos)).astype(np.float64))
        above_VV = np.stack(columns, axis=1)
        anomalous_V = np.array([float(label_N.sum()) for label_N, _ in videos.values()])
        normal_V = np.array([float((~label_N).sum()) for label_N, _ in videos.values()])
        with np.errstate(invalid="ignore"):
            own_V = np.diag(above_VV) / (anomalous_V * normal_V)
        own = {video: None if np.isnan(value) else float(value) for video, value in zip(videos, own_V, strict=True)}
        padded_V = np.array(list(padded_aucs(videos, own).values()))
        return cls(above_VV=above_VV, anomalous_V=anomalous_V, normal_V=normal_V, padded_V=padded_V, own_V=own_V)

    def areas(self, weight_BV: Floats) -> dict[str, Floats]:
        """Return the AUCs when each video counts ``weight_BV`` times, (B,) each; NaN where undefined."""
        pairs_B = (weight_BV @ self.anomalous_V) * (weight_BV @ self.normal_V)
        above_B = np.sum((weight_BV @ self.above_VV) * weight_BV, axis=1)
        has_own_V = ~np.isnan(self.own_V)
        own_BV = weight_BV[:, has_own_V]
        with np.errstate(invalid="ignore"):
            macro_B = np.where(pairs_B > 0, weight_BV @ self.padded_V / weight_BV.sum(axis=1), np.nan)
            own_B = own_BV @ self.own_V[has_own_V] / own_BV.sum(axis=1)
            return {"micro_auc": above_B / pairs_B, "macro_auc": macro_B, "mean_video_auc": own_B}


@dataclass(frozen=True, kw_only=True)
class RankedFrames:
    """The frames of all videos, the highest score first."""

    video_N: NDArray[np.int64]
    label_N: Floats
    """1 = anomalous, 0 = normal."""
    end_K: NDArray[np.int64]
    """The last frame of each run of equal scores."""

    @classmethod
    def of(cls, videos: LabelledScores) -> "RankedFrames":
        """Sort the frames of at least one video."""
        score_N = np.concatenate([score_N for _, score_N in videos.values()])
        label_N = np.concatenate([label_N for label_N, _ in videos.values()])
        video_N = np.repeat(np.arange(len(videos)), [len(label_N) for label_N, _ in videos.values()])
        order_N = np.argsort(-score_N, kind="stable")
        return cls(
            video_N=video_N[order_N],
            label_N=label_N[order_N].astype(np.float64),
            end_K=np.flatnonzero(np.append(np.diff(score_N[order_N]) != 0, True)[: len(score_N)]),
        )

    def rates(self, weight_BV: Floats) -> dict[str, Floats]:
        """Return average precision and equal error rate under ``weight_BV``, (B,) each; NaN where undefined."""
        weight_BN = weight_BV[:, self.video_N]
        seen_BK = np.cumsum(weight_BN, axis=1)[:, self.end_K]
        true_BK = np.cumsum(weight_BN * self.label_N, axis=1)[:, self.end_K]
        false_BK = seen_BK - true_BK
        with np.errstate(invalid="ignore"):  # a class is missing, or the first frames do not count
            precision_BK = np.nan_to_num(true_BK / seen_BK)
            caught_BK, wrong_BK = true_BK / true_BK[:, -1:], false_BK / false_BK[:, -1:]
            precision_B = np.sum(np.diff(caught_BK, axis=1, prepend=0) * precision_BK, axis=1)
            crossing_B = _crossing(wrong_BK, caught_BK)
        defined_B = (true_BK[:, -1] > 0) & (false_BK[:, -1] > 0)
        return {
            "average_precision": np.where(defined_B, precision_B, np.nan),
            "equal_error_rate": np.where(defined_B, crossing_B, np.nan),
        }


def _crossing(wrong_BK: Floats, caught_BK: Floats) -> Floats:
    """Return where the ROC curve from (0, 0) meets the line on which both kinds of error are equal, (B,)."""
    excess_BK = np.pad(wrong_BK + caught_BK - 1, ((0, 0), (1, 0)), constant_values=-1.0)
    wrong_BK = np.pad(wrong_BK, ((0, 0), (1, 0)))
    after_B = np.maximum(np.argmax(excess_BK >= 0, axis=1), 1)
    row_B = np.arange(len(after_B))
    low_B, high_B = excess_BK[row_B, after_B - 1], excess_BK[row_B, after_B]
    share_B = -low_B / (high_B - low_B)
    return np.asarray(wrong_BK[row_B, after_B - 1] * (1 - share_B) + wrong_BK[row_B, after_B] * share_B)


def auc_intervals(videos: LabelledScores, *, samples: int, seed: int = SEED) -> dict[str, Interval]:
    """Return the 95 % intervals of micro_auc, macro_auc and mean_video_auc over ``samples`` draws of videos."""
    if not videos:
        return dict.fromkeys(("micro_auc", "macro_auc", "mean_video_auc"), None)
    return bootstrap(PairCounts.of(videos).areas, len(videos), samples=samples, seed=seed, at_once=max(samples, 1))


def rate_intervals(videos: LabelledScores, *, samples: int, seed: int = SEED) -> dict[str, Interval]:
    """Return the 95 % intervals of average_precision and equal_error_rate; of as many samples as frames allow at once."""
    if not videos:
        return dict.fromkeys(("average_precision", "equal_error_rate"), None)
    ranked = RankedFrames.of(videos)
    at_once = max(1, NUMBERS_AT_ONCE // len(ranked.video_N))
    return bootstrap(ranked.rates, len(videos), samples=samples, seed=seed, at_once=at_once)


def margin_interval(first: LabelledScores, second: LabelledScores, *, samples: int, seed: int = SEED) -> Interval:
    """Return the 95 % interval of how far the micro-AUC of ``first`` lies above that of ``second``, videos drawn alike."""
    if not first:
        return None
    areas: list[Callable[[Floats], dict[str, Floats]]] = [PairCounts.of(videos).areas for videos in (first, second)]

    def margin(weight_BV: Floats) -> dict[str, Floats]:
        ours_B, rival_B = (area(weight_BV)["micro_auc"] for area in areas)
        return {"margin": ours_B - rival_B}

    return bootstrap(margin, len(first), samples=samples, seed=seed, at_once=max(samples, 1))["margin"]
