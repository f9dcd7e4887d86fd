"""The work of the eval stage: every test video measured, scored, compared with its labels and shown."""

import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import CLIP_FRAMES, Config, EvalSettings
from pipeline.contract import Array, DataError, Inputs, Labels, Report, VideoRecord
from pipeline.files import write_json
from scoring.baselines import trivial_scores
from scoring.maps import MapWriter
from scoring.mask_tracks import tracks_of_labels
from scoring.measure import Detector, Measured, measure_video, refuse_short
from scoring.picture import MOST_PEAKS, draw_picture
from scoring.protocols import PROTOCOLS, Protocol, TapName
from scoring.region_store import RegionWriter
from scoring.regions import region_rule
from scoring.scores import FUSED, ProtocolScores, bundle_name, evidence_scale, fusion_weights, score_video
from scoring.store import write_scores
from scoring.summary import Peak, VideoResult, summarise
from scoring.table import format_table
from scoring.threshold import alarm_threshold

METRICS, TABLE, PICTURE = "metrics.json", "table.txt", "picture.png"
PACKAGES = ("stpa", "torch", "numpy", "scikit-learn")


def evaluate(
    detector: Detector, inputs: Inputs, config: Config, out: Path, report: Report, origin: dict[str, Any]
) -> dict[str, Any]:
    """Score the test split, write everything below ``out`` and return the content of metrics.json.

    ``origin`` says which model and settings these numbers belong to; it becomes part of the metrics.

    Raises
    ------
    DataError
        There is no test video, one is shorter than a clip, or its labels do not fit its frames.
    MissingScoreError
        A frame that has to have a score has none.
    """
    protocols = [PROTOCOLS[name] for name in config.eval.protocols]
    shown = shown_protocol(protocols)
    rule = region_rule(detector, shown, config.eval)
    regions = None if rule is None else RegionWriter(out, rule, shown)
    maps = MapWriter(out, shown.name)
    results = score_test_split(detector, inputs, config, protocols, report, maps, regions)
    about = {protocol.name: describe(detector, protocol, config, results) for protocol in protocols}
    metrics = {
        "dataset": config.dataset.name,
        "pooling": config.eval.pooling,
        "primary": protocols[0].name,
        "false_alarm_rate": config.eval.false_alarm_rate,
        **summarise(
            results,
            protocols,
            {protocol.name: fusion_weights(detector, protocol, config.eval.pooling) for protocol in protocols},
            thresholds={name: found["threshold"] for name, found in about.items()},
            samples=config.eval.bootstrap,
            fps=config.eval.fps,
        ),
        **origin,
        "versions": versions(),
    }
    for name, found in about.items():
        metrics["protocols"][name]["rules"] = found["rules"]
        if config.eval.mode == "dense":
            metrics["protocols"][name]["summary"] += "; but dense: by long windows, which show frames to come"
    if rule is not None:
        metrics["protocols"][shown.name]["region_rule"] = rule.to_dict()
    write_scores(out, results, about)
    if regions is not None:
        regions.finish()
    write_json(out / METRICS, metrics)
    (out / TABLE).write_text(format_table(metrics) + "\n", encoding="utf-8")
    report("picture", 0, 1)
    draw_picture(out / PICTURE, results, inputs, shown, config.dataset.name)
    report("picture", 1, 1)
    return metrics


def score_test_split(
    detector: Detector,
    inputs: Inputs,
    config: Config,
    protocols: Sequence[Protocol],
    report: Report,
    maps: MapWriter,
    regions: RegionWriter | None = None,
) -> list[VideoResult]:
    """Return what is kept of every test video, in the order of their ids; a piece of one video in memory at a time.

    ``maps`` takes the error maps of every frame, which are too many to be kept; ``regions`` what is found in them.
    """
    records = inputs.videos("test")
    if not records:
        raise DataError("expected at least one test video, found none; see dataset.root and stpa status")
    for record in records:  # before anything costly is done
        refuse_short(record)
    total = sum(record.num_frames for record in records)
    results: list[VideoResult] = []
    for record in records:
        report("frames scored", sum(result.record.num_frames for result in results), total)
        results.append(_score_one(detector, inputs, config, protocols, record, maps, regions))
    report("frames scored", total, total)
    return results


def _score_one(
    detector: Detector,
    inputs: Inputs,
    config: Config,
    protocols: Sequence[Protocol],
    record: VideoRecord,
    maps: MapWriter,
    regions: RegionWriter | None,
) -> VideoResult:
    shown = shown_protocol(protocols)

    def take(tap: TapName, piece: Measured) -> None:
        if tap == shown.tap and len(piece.frame_index_N):
            maps.write(record.id, piece.frame_index_N, piece.maps)
            if regions is not None:
                regions.add(record, piece)

    measured, motion_PM = measure_video(
        detector, inputs, record, batch_size=config.eval.batch_size, mapped=(), take=take
    )
    scores = {
        protocol.name: score_video(record, measured[protocol.tap], protocol, detector, config.eval.pooling)
        for protocol in protocols
    }
    detections = {} if regions is None else {regions.protocol.name: regions.end(record)}
    labels = _labels(inputs, record)
    return VideoResult(
        record=record,
        labels=labels and replace(labels, pixel_mask_THW=None, read_tracks=None),  # masks of a split need much memory
        tracks=tracks_of_labels(labels),
        detections=detections,
        protocols=scores,
        trivial=trivial_scores(record.id, motion_PM),
        peaks=find_peaks(scores[shown.name], maps.read),
    )


def describe(
    detector: Detector, protocol: Protocol, config: Config, results: Sequence[VideoResult]
) -> dict[str, Any]:
    """Return by what the scores of a protocol were made, plain JSON: enough to fuse them anew without the model."""
    pooling = config.eval.pooling
    return {
        "indicators": list(detector.indicators),
        "pooling": pooling,
        "weights": {
            raw: detector.fusion_weight(protocol.tap, bundle_name(raw))
            * evidence_scale(detector, protocol.tap, bundle_name(raw))
            for raw in results[0].protocols[protocol.name].raw
        },
        "threshold": alarm_threshold(detector, protocol, pooling, config.eval.false_alarm_rate),
        "rules": protocol.rules([result.labels.source for result in results if result.labels]) | mode_rules(config.eval),
    }


def mode_rules(settings: EvalSettings) -> dict[str, Any]:
    """Return in what the rules of a protocol are not kept: frames to come have a part in every dense score."""
    if settings.mode == "exact":
        return {}
    return {"mode": "dense", "phases": settings.phases, "causal": False}


def shown_protocol(protocols: Sequence[Protocol]) -> Protocol:
    """Return the protocol whose scores the picture shows: one of which the values of different videos compare."""
    return min(protocols, key=lambda protocol: protocol.per_video)


def _labels(inputs: Inputs, record: VideoRecord) -> Labels | None:
    labels = inputs.labels(record)
    if labels is not None and labels.frame_T.shape != (record.num_frames,):
        raise DataError(
            f"{labels.source}: expected {record.num_frames} labels for test video {record.id}, "
            f"found {labels.frame_T.shape}; labels and frames must be of the same release of the dataset"
        )
    return labels


def find_peaks(scores: ProtocolScores, maps_of: Callable[[int], Mapping[str, Array]]) -> tuple[Peak, ...]:
    """Return the highest scores of a video, each at least a clip away from those before it, the highest first.

    ``maps_of`` gives the maps of a row of the scores.
    """
    left_N = scores.score[FUSED].copy()
    peaks: list[Peak] = []
    while len(peaks) < MOST_PEAKS and np.isfinite(left_N).any():
        row = int(np.argmax(left_N))
        frame = int(scores.frame_index_N[row])
        peaks.append(Peak(frame_index=frame, score=float(left_N[row]), maps=dict(maps_of(row))))
        left_N[np.abs(scores.frame_index_N - frame) < CLIP_FRAMES] = -np.inf
    return tuple(peaks)


def versions() -> dict[str, str]:
    """Return the versions that numbers may depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
