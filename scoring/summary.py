"""All numbers of an evaluation as one object: the content of metrics.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Labels, VideoRecord
from scoring.baselines import BASELINES, constant_score
from scoring.intervals import margin_interval
from scoring.mask_tracks import SOURCE
from scoring.metrics import LabelledScores, overall, pooled_auc
from scoring.protocols import Protocol
from scoring.region_metrics import Detections, Tracks, region_metrics
from scoring.score_table import SAMPLES, ScoreTable, conventions, events_of, frame_metrics
from scoring.scores import FUSED, ProtocolScores, Scores

NO_THRESHOLDS: Mapping[str, float | None] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class VideoResult:
    """Everything that is kept of one test video."""

    record: VideoRecord
    labels: Labels | None
    protocols: dict[str, ProtocolScores]
    trivial: Scores
    """Baselines without an oracle, (T,) each."""
    peaks: "tuple[Peak, ...]"
    """At least one, the highest first."""
    tracks: Tracks | None = field(default=None, repr=False)
    """The true regions, where the dataset has pixel masks; in pixels of the original frames."""
    detections: Mapping[str, Detections] = field(default_factory=dict, repr=False)
    """Protocol -> detected regions, in the same pixels."""


@dataclass(frozen=True, kw_only=True)
class Peak:
    """One of the most abnormal frames of a video, and where in it the error lies."""

    frame_index: int
    score: float
    """Fused, under the protocol that the picture shows."""
    maps: dict[str, NDArray[Any]]
    """float16, ``spatial`` and ``temporal``, (h, w) each, see :class:`scoring.measure.Measured`."""


def summarise(
    results: Sequence[VideoResult],
    protocols: Sequence[Protocol],
    weights: Mapping[str, Mapping[str, float]],
    *,
    thresholds: Mapping[str, float | None] = NO_THRESHOLDS,
    samples: int = SAMPLES,
    fps: float | None = None,
) -> dict[str, Any]:
    """Return counts, metrics of every indicator and baseline, and margins; plain JSON values, None where undefined.

    Metrics are over the videos that have labels. Per protocol, ``weights`` are those of the fusion and ``thresholds`` those
    of an alarm on the fused score. ``samples`` are the draws of confidence intervals; ``fps`` is for videos that do not say.
    """
    rivals = {protocol.name: _baseline_scores(results, protocol) for protocol in protocols}
    baselines = {name: _baseline(name, rivals) for name in BASELINES}
    summary: dict[str, Any] = {"main": FUSED, "protocols": {}}
    for protocol in protocols:
        table = score_table(results, protocol, fps)
        threshold = thresholds.get(protocol.name)
        found = frame_metrics(table, FUSED, samples=samples)
        summary["protocols"][protocol.name] = {
            **found,
            "summary": protocol.summary,
            "fusion_weights": dict(weights[protocol.name]),
            "frames": sum(map(len, table.frames.values())),
            "dropped_frames": sum(
                result.record.num_frames - len(table.frames[result.record.id]) for result in results
            ),
            "margin": margin_over(table.labelled(FUSED), rivals[protocol.name], baselines, protocol.name, samples=samples),
            "threshold": threshold,
            "events": events_of(table, FUSED, threshold),
            "regions": regions_of(results, protocol, samples=samples),
        }
    return summary | {"baselines": baselines} | _counts(results) | conventions(samples)


def score_table(results: Sequence[VideoResult], protocol: Protocol, fps: float | None = None) -> ScoreTable:
    """Return the scores of all videos under a protocol."""
    scores = {result.record.id: result.protocols[protocol.name] for result in results}
    return ScoreTable(
        frames={video: found.frame_index_N for video, found in scores.items()},
        labels={
            result.record.id: result.labels.frame_T[scores[result.record.id].frame_index_N]
            for result in results
            if result.labels
        },
        scores={
            name: {video: found.score[name] for video, found in scores.items()}
            for name in results[0].protocols[protocol.name].score
        },
        fps={result.record.id: result.record.fps or fps or 0.0 for result in results},
    )


def _counts(results: Sequence[VideoResult]) -> dict[str, Any]:
    labels = [result.labels for result in results if result.labels]
    return {
        "videos": len(results),
        "labelled_videos": len(labels),
        "frames": sum(result.record.num_frames for result in results),
        "labelled_frames": sum(len(found.frame_T) for found in labels),
        "anomalous_frames": sum(int(found.frame_T.sum()) for found in labels) if labels else None,
        "labels": sorted({found.source for found in labels}),
    }


def _baseline(name: str, rivals: Mapping[str, Mapping[str, LabelledScores]]) -> dict[str, Any]:
    baseline = BASELINES[name]
    found = {protocol: overall(scores[name]) for protocol, scores in rivals.items()}
    best = max((value["micro_auc"] for value in found.values() if value["micro_auc"] is not None), default=None)
    return {"micro_auc": best, "protocols": found, "oracle": baseline.oracle, "summary": baseline.summary}


def _baseline_scores(results: Sequence[VideoResult], protocol: Protocol) -> dict[str, LabelledScores]:
    return {
        name: {
            result.record.id: _baseline_video(name, result, protocol, result.labels) for result in results if result.labels
        }
        for name in BASELINES
    }


def _baseline_video(
    name: str, result: VideoResult, protocol: Protocol, labels: Labels
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    kept_N = protocol.kept(result.record.num_frames)
    score_T = constant_score(labels.frame_T) if BASELINES[name].oracle else result.trivial[name]
    score_N = protocol.normalise(score_T[kept_N]) if BASELINES[name].per_video else score_T[kept_N]
    return labels.frame_T[kept_N], score_N


def margin_over(
    fused: LabelledScores,
    rivals: Mapping[str, LabelledScores],
    baselines: Mapping[str, Any],
    protocol: str,
    *,
    samples: int,
) -> dict[str, Any]:
    """Return by how much the fused score beats the best baseline without an oracle, under the same protocol."""
    ours = pooled_auc(fused)
    found = {
        name: baseline["protocols"][protocol]["micro_auc"] for name, baseline in baselines.items() if not baseline["oracle"]
    }
    if ours is None or not found:
        return {"micro_auc": None, "over": None, "interval": None}
    best = max(found, key=lambda name: found[name])
    interval = margin_interval(fused, rivals[best], samples=samples)
    return {"micro_auc": ours - found[best], "over": best, "interval": interval}


def regions_of(results: Sequence[VideoResult], protocol: Protocol, *, samples: int) -> dict[str, Any] | None:
    """Return RBDC and TBDC of the detected regions; None where a labelled video has no true regions to compare with.

    Equal scores pass together, so that no order of videos matters. Frames that a protocol drops have neither regions.
    """
    labelled = [result for result in results if result.labels]
    if not labelled or any(result.tracks is None or protocol.name not in result.detections for result in labelled):
        return None
    kept = {result.record.id: protocol.kept(result.record.num_frames) for result in labelled}
    true = {result.record.id: _kept_tracks(result.tracks, kept[result.record.id]) for result in labelled if result.tracks}
    found = {
        result.record.id: _kept_detections(result.detections[protocol.name], kept[result.record.id]) for result in labelled
    }
    frames = {video: len(kept_N) for video, kept_N in kept.items()}
    return region_metrics(true, found, frames, ties="collapse", samples=samples) | {"source": _track_sources(labelled)}


def _track_sources(labelled: Sequence[VideoResult]) -> str:
    """Say where true regions come from: from the dataset, or out of its masks."""
    return ", ".join(sorted({result.labels.track_source or SOURCE for result in labelled if result.labels}))


def _kept_tracks(tracks: Tracks, kept_N: NDArray[np.int64]) -> Tracks:
    """Return the regions in frames that are scored, counted from the first of them."""
    row_R = np.isin(tracks.frame_R, kept_N)
    return Tracks(
        track_R=tracks.track_R[row_R], frame_R=tracks.frame_R[row_R] - kept_N[0], box_R4=tracks.box_R4[row_R]
    )


def _kept_detections(found: Detections, kept_N: NDArray[np.int64]) -> Detections:
    row_D = np.isin(found.frame_D, kept_N)
    return Detections(
        frame_D=found.frame_D[row_D] - kept_N[0], box_D4=found.box_D4[row_D], score_D=found.score_D[row_D]
    )
