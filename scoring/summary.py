"""All numbers of an evaluation as one object: the content of metrics.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from pipeline.contract import Labels, VideoRecord
from scoring.baselines import BASELINES, constant_score
from scoring.metrics import LabelledScores, overall, per_video
from scoring.protocols import Protocol
from scoring.scores import FUSED, ProtocolScores, Scores


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


@dataclass(frozen=True, kw_only=True)
class Peak:
    """One of the most abnormal frames of a video, and where in it the error lies."""

    frame_index: int
    score: float
    """Fused, under the protocol that the picture shows."""
    maps: dict[str, NDArray[Any]]
    """float16, ``spatial`` and ``temporal``, (h, w) each, see :class:`scoring.measure.Measured`."""


def summarise(
    results: Sequence[VideoResult], protocols: Sequence[Protocol], weights: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Return counts, metrics of every indicator and baseline, and margins; plain JSON values, None where undefined.

    Metrics are over the videos that have labels; ``weights`` are those of the fusion, per protocol.
    """
    baselines = {name: _baseline(name, results, protocols) for name in BASELINES}
    summary: dict[str, Any] = {"protocols": {}}
    for protocol in protocols:
        indicators = {name: _indicator(name, results, protocol) for name in results[0].protocols[protocol.name].score}
        summary["protocols"][protocol.name] = {
            **indicators,
            "summary": protocol.summary,
            "fusion_weights": dict(weights[protocol.name]),
            "frames": sum(len(result.protocols[protocol.name].frame_index_N) for result in results),
            "dropped_frames": sum(
                result.record.num_frames - len(result.protocols[protocol.name].frame_index_N) for result in results
            ),
            "margin": _margin(indicators[FUSED]["micro_auc"], baselines, protocol.name),
        }
    return summary | {"baselines": baselines} | _counts(results)


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


def _indicator(name: str, results: Sequence[VideoResult], protocol: Protocol) -> dict[str, Any]:
    videos: LabelledScores = {
        result.record.id: (result.labels.frame_T[scores.frame_index_N], scores.score[name])
        for result in results
        if result.labels
        for scores in [result.protocols[protocol.name]]
    }
    return {**overall(videos), "per_video": per_video(videos)}


def _baseline(name: str, results: Sequence[VideoResult], protocols: Sequence[Protocol]) -> dict[str, Any]:
    baseline = BASELINES[name]
    found = {protocol.name: overall(_baseline_scores(name, results, protocol)) for protocol in protocols}
    best = max((value["micro_auc"] for value in found.values() if value["micro_auc"] is not None), default=None)
    return {"micro_auc": best, "protocols": found, "oracle": baseline.oracle, "summary": baseline.summary}


def _baseline_scores(name: str, results: Sequence[VideoResult], protocol: Protocol) -> LabelledScores:
    videos = {}
    for result in results:
        if result.labels:
            kept_N = protocol.kept(result.record.num_frames)
            score_T = constant_score(result.labels.frame_T) if BASELINES[name].oracle else result.trivial[name]
            score_N = protocol.normalise(score_T[kept_N]) if BASELINES[name].per_video else score_T[kept_N]
            videos[result.record.id] = (result.labels.frame_T[kept_N], score_N)
    return videos


def _margin(fused: float | None, baselines: Mapping[str, Any], protocol: str) -> dict[str, Any]:
    """Return by how much the fused score beats the best baseline without an oracle, under the same protocol."""
    rivals = {
        name: baseline["protocols"][protocol]["micro_auc"]
        for name, baseline in baselines.items()
        if not baseline["oracle"] and baseline["protocols"][protocol]["micro_auc"] is not None
    }
    if fused is None or not rivals:
        return {"micro_auc": None, "over": None}
    best = max(rivals, key=lambda name: rivals[name])
    return {"micro_auc": fused - rivals[best], "over": best}
