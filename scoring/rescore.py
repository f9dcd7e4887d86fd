"""Metrics of scores that are there already: no model, no video. ``stpa eval --scores``."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError
from scoring.baselines import BASELINES, constant_score, noise
from scoring.metrics import LabelledScores, overall
from scoring.protocols import PAPER, PROTOCOLS
from scoring.score_files import ScoreFile
from scoring.score_table import SAMPLES, ScoreTable, conventions, events_of, frame_metrics
from scoring.summary import margin_over

Dropped = tuple[int, int]
"""First and last frames of every video that are left without a score."""
KEPT = ("dataset", "pooling", "artifact", "model", "seed", "device", "versions")
"""What a stored metrics.json says of where scores come from."""
EVERY_FRAME: Dropped = (0, 0)
PAPERS_FRAMES: Dropped = (PAPER.dropped_first, PAPER.dropped_last)
MODEL_FREE = ("time", "constant", "random")
"""The baselines that need no video."""


@dataclass(frozen=True, kw_only=True)
class DatasetLabels:
    """What a dataset says of its test videos."""

    frame_T: Mapping[str, NDArray[np.bool_] | None]
    """Video -> labels of all its frames; None where it has none."""
    lengths: Mapping[str, int]
    fps: Mapping[str, float]
    sources: tuple[str, ...]


def rescore(
    file: ScoreFile,
    *,
    samples: int = SAMPLES,
    fps: float | None = None,
    threshold: float | None = None,
    dropped: Dropped | None = None,
) -> dict[str, Any]:
    """Return the metrics of stored scores in the shape of metrics.json; of baselines, those that need no video.

    RBDC and TBDC are taken over from the evaluation: they depend on regions and tracks (``stpa regions``), not on scores.
    ``dropped`` are the first and last frames of every video that have no score, where no protocol says.

    Raises
    ------
    DataError
        No video has labels, or a frame that is not declared as dropped has no score.
    """
    protocols: dict[str, Any] = {}
    baselines: dict[str, Any] = {}
    for name, table in file.tables.items():
        if not table.labels:
            raise DataError(
                f"{file.path}: expected labels of at least one of {len(table.frames)} videos, found none; "
                "add a column label, or give --config of the dataset"
            )
        table = replace(table, fps={video: value or fps or 0.0 for video, value in table.fps.items()})
        left_out = check_dropped(file, name, table, dropped)
        rivals = model_free(file, name, table)
        _add_baselines(baselines, name, rivals)
        about = file.stored.get("protocols", {}).get(name, {})
        limit = threshold if threshold is not None else file.thresholds.get(name)
        protocols[name] = {
            **frame_metrics(table, file.main, samples=samples),
            "summary": PROTOCOLS[name].summary if name in PROTOCOLS else f"scores as they stand in {file.path.name}",
            "fusion_weights": about.get("fusion_weights", {}),
            "frames": sum(map(len, table.frames.values())),
            "dropped_frames": left_out,
            "margin": margin_over(table.labelled(file.main), rivals, baselines, name, samples=samples),
            "threshold": limit,
            "events": events_of(table, file.main, limit),
            "regions": about.get("regions"),
        }
    origin = {key: file.stored[key] for key in KEPT if key in file.stored}
    scores = {"scores": str(file.path), "main": file.main, "protocols": protocols, "baselines": baselines}
    return origin | scores | _counts(file) | conventions(samples)


def check_dropped(file: ScoreFile, protocol: str, table: ScoreTable, declared: Dropped | None) -> int:
    """Return how many frames have no score, as far as the length of videos is known.

    Raises
    ------
    DataError
        A frame has none that is not declared as dropped: the video, what was expected and what was found are named.
    """
    rule = PROTOCOLS.get(protocol)
    allowed = [(rule.dropped_first, rule.dropped_last)] if rule else [declared] if declared else [EVERY_FRAME, PAPERS_FRAMES]
    starts = {int(frame_N[0]) for frame_N in table.frames.values()}
    first, last = next((rule for rule in allowed if starts == {rule[0]}), allowed[0])
    for video, frame_N in table.frames.items():
        stop = file.lengths[video] - last if video in file.lengths else int(frame_N[-1]) + 1
        if (int(frame_N[0]), int(frame_N[-1]) + 1) != (first, stop):
            length = f" of {file.lengths[video]}" if video in file.lengths else ""
            raise DataError(
                f"{file.path}: video {video}: expected {stop - first} scores, of frames {first} to {stop - 1}{length}, "
                f"found {len(frame_N)}, of frames {frame_N[0]} to {frame_N[-1]}; frames count from 0, and what a method "
                "cannot score is declared by --dropped FIRST LAST"
            )
    return len(table.frames) * first + len(file.lengths.keys() & table.frames.keys()) * last


def model_free(file: ScoreFile, protocol: str, table: ScoreTable) -> dict[str, LabelledScores]:
    """Return the baselines that need no video, of the same frames under the same rules."""
    rule = PROTOCOLS.get(protocol)
    found: dict[str, dict[str, tuple[NDArray[np.bool_], NDArray[np.float64]]]] = {name: {} for name in MODEL_FREE}
    for video, label_N in table.labels.items():
        frame_N = table.frames[video]
        length = file.lengths.get(video, int(frame_N[-1]) + 1)
        scores = {
            "time": np.linspace(0.0, 1.0, length)[frame_N],
            "constant": constant_score(label_N),
            "random": noise(video, length)[frame_N],
        }
        for name, score_N in scores.items():
            compared_N = rule.normalise(score_N) if rule and BASELINES[name].per_video else score_N
            found[name][video] = (label_N, compared_N)
    return {name: dict(videos) for name, videos in found.items()}


def _add_baselines(baselines: dict[str, Any], protocol: str, rivals: Mapping[str, LabelledScores]) -> None:
    for name, videos in rivals.items():
        about = {"oracle": BASELINES[name].oracle, "summary": BASELINES[name].summary}
        entry: dict[str, Any] = baselines.setdefault(name, {"micro_auc": None, "protocols": {}, **about})
        entry["protocols"][protocol] = found = overall(videos)
        values = [value for value in (entry["micro_auc"], found["micro_auc"]) if value is not None]
        entry["micro_auc"] = max(values, default=None)


def _counts(file: ScoreFile) -> dict[str, Any]:
    table = max(file.tables.values(), key=lambda table: sum(map(len, table.frames.values())))
    return {
        "videos": len(table.frames),
        "labelled_videos": len(table.labels),
        "frames": sum(file.lengths.get(video, len(frame_N)) for video, frame_N in table.frames.items()),
        "labelled_frames": sum(map(len, table.labels.values())),
        "anomalous_frames": sum(int(label_N.sum()) for label_N in table.labels.values()),
        "labels": list(file.stored.get("labels", ())),
    }


def relabel(file: ScoreFile, labels: DatasetLabels) -> tuple[ScoreFile, list[str]]:
    """Return the scores with the labels of a dataset in place of their own, and the videos of which labels changed.

    Raises
    ------
    DataError
        A video has scores and no labels or the other way round, the labels are of another length, or a CSV file has others.
    """
    changed: set[str] = set()
    tables = {}
    for name, table in file.tables.items():
        _check_videos(file, table, labels)
        fresh = {
            video: frame_T[table.frames[video]] for video, frame_T in labels.frame_T.items() if frame_T is not None
        }
        changed |= {
            video for video, label_N in fresh.items()
            if video in table.labels and not np.array_equal(label_N, table.labels[video])
        }
        _check_one_label_set(file, table, fresh)
        fps = {video: labels.fps[video] or table.fps[video] for video in table.frames}
        tables[name] = replace(table, labels=fresh, fps=fps)
    stored = {**file.stored, "labels": list(labels.sources)}
    if changed:  # what was found in which regions belongs to the labels of then
        stored["protocols"] = {name: {**found, "regions": None} for name, found in stored.get("protocols", {}).items()}
    return replace(file, tables=tables, lengths=labels.lengths, stored=stored), sorted(changed)


def _check_one_label_set(file: ScoreFile, table: ScoreTable, fresh: Mapping[str, NDArray[np.bool_]]) -> None:
    """Refuse a CSV file with labels of its own that are not the dataset's; an evaluation of old may be given new ones."""
    for video, label_N in () if file.stored else table.labels.items():
        if video not in fresh or not np.array_equal(label_N, fresh[video]):
            found = int(fresh[video].sum()) if video in fresh else "none"
            raise DataError(
                f"{file.path}: video {video}: expected one label set, found {int(label_N.sum())} anomalous frames in its "
                f"column label and {found} in the dataset; leave out the column or --config"
            )


def _check_videos(file: ScoreFile, table: ScoreTable, labels: DatasetLabels) -> None:
    for here, there, what, where in (
        (table.frames, labels.frame_T, "a video with scores", "the dataset's test split"),
        (labels.frame_T, table.frames, "a test video of the dataset", "the scores"),
    ):
        strange = [video for video in here if video not in there]
        if strange:
            raise DataError(
                f"{file.path}: video {strange[0]}: expected {what} to be in {where} too, found it is not "
                f"({len(strange)} such of {len(here)} videos; {where} has {len(there)})"
            )
    for video, frame_N in table.frames.items():
        stored = file.lengths.get(video, labels.lengths[video])
        if frame_N[-1] >= labels.lengths[video] or stored != labels.lengths[video]:
            raise DataError(
                f"{file.path}: video {video}: expected scores of the {labels.lengths[video]} frames that its labels have, "
                f"found scores of {max(stored, int(frame_N[-1]) + 1)} frames; scores and labels must be of the same release"
            )
