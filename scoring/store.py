"""Scores on disk: scores.zarr, a table per protocol with one row per scored frame, and the error maps at the peaks.

scores.zarr/                    attributes: videos (ids; ``video`` below is the place in this list), frames and fps of each
  <protocol>/video              (R,) int32
             frame              (R,) int32, 0-based
             label              (R,) int8, 1 = anomalous, 0 = normal, -1 = no label
             raw.<indicator>    (R,) float64, and so for z, contribution and score: see scoring.scores
             attributes: indicators, pooling, weights (of every raw value), rules, threshold (null = none)
  peaks/video, frame, score     (P,) the most abnormal frames of each video, a clip apart, the highest first
        spatial, temporal       (P, h, w) float16, error relative to training, see scoring.measure
  regions/                      see scoring.region_store
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from pipeline.artifacts.bounded import read_whole
from pipeline.contract import Array
from scoring.scores import ProtocolScores
from scoring.summary import VideoResult

NAME = "scores.zarr"
ROWS_PER_CHUNK = 65_536
NO_LABEL = -1
KINDS = tuple(field.name for field in fields(ProtocolScores) if field.name != "frame_index_N")


def write_scores(
    out: Path, results: Sequence[VideoResult], about: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> None:
    """Write the scores of all videos below ``out``; ``about`` are the attributes of each protocol's table, plain JSON."""
    group = zarr.open_group(out / NAME, mode="w-", zarr_format=3)
    group.attrs["videos"] = [result.record.id for result in results]
    group.attrs["frames"] = [result.record.num_frames for result in results]
    group.attrs["fps"] = [result.record.fps for result in results]
    for protocol in results[0].protocols:
        table = group.create_group(protocol, attributes=dict(about.get(protocol, {})))
        write_table(table, _columns(results, protocol), ("row",))
    places = [place for place, result in enumerate(results) for _ in result.peaks]
    peaks = [peak for result in results for peak in result.peaks]
    columns: dict[str, Array] = {
        "video": np.array(places, np.int32),
        "frame": np.array([peak.frame_index for peak in peaks], np.int32),
        "score": np.array([peak.score for peak in peaks]),
    }
    columns |= {name: np.stack([peak.maps[name] for peak in peaks]) for name in peaks[0].maps}
    write_table(group.create_group("peaks"), columns, ("peak", "y", "x"))


def read_about(folder: Path, protocol: str) -> dict[str, Any]:
    """Return the attributes of a protocol's table: by what its scores were made."""
    table = zarr.open_group(folder / NAME, mode="r")[protocol]
    return dict(table.attrs)


def read_scores(folder: Path, protocol: str) -> dict[str, dict[str, NDArray[Any]]]:
    """Return video id -> column -> (N,) values of the frames that a protocol scores, from an evaluation's folder."""
    group = zarr.open_group(folder / NAME, mode="r")
    table = group[protocol]
    assert isinstance(table, zarr.Group)
    columns = read_table(table)
    videos: Any = group.attrs["videos"]  # JSON: zarr cannot know that it is a list of ids
    return {
        video: {name: column_R[columns["video"] == place] for name, column_R in columns.items()}
        for place, video in enumerate(videos)
    }


def read_table(group: zarr.Group) -> dict[str, NDArray[Any]]:
    """Return the columns that :func:`write_table` wrote, in that order."""
    found = {name: read_whole(array) for name, array in group.arrays()}
    order: Any = group.attrs.get("columns", sorted(found))
    return {name: found[name] for name in order}


def _columns(results: Sequence[VideoResult], protocol: str) -> dict[str, Array]:
    parts: dict[str, list[Array]] = {}
    for place, result in enumerate(results):
        for name, column_N in _video_columns(result, result.protocols[protocol], place).items():
            parts.setdefault(name, []).append(column_N)
    return {name: np.concatenate(part) for name, part in parts.items()}


def _video_columns(result: VideoResult, scores: ProtocolScores, place: int) -> dict[str, Array]:
    frame_N = scores.frame_index_N
    label_N = result.labels.frame_T[frame_N] if result.labels else np.full(len(frame_N), NO_LABEL)
    columns: dict[str, Array] = {
        "video": np.full(len(frame_N), place, np.int32),
        "frame": frame_N.astype(np.int32),
        "label": label_N.astype(np.int8),
    }
    for kind in KINDS:
        columns |= {f"{kind}.{name}": value_N for name, value_N in getattr(scores, kind).items()}
    return columns


def write_table(group: zarr.Group, columns: Mapping[str, Array], dimensions: tuple[str, ...]) -> None:
    """Write columns of equal length into a group, and their order, which a folder does not keep."""
    group.attrs["columns"] = list(columns)
    for name, column in columns.items():
        group.create_array(
            name,
            data=column,
            chunks=(min(ROWS_PER_CHUNK, max(1, len(column))), *column.shape[1:]),
            compressors=ZstdCodec(level=1, checksum=True),
            dimension_names=dimensions[: column.ndim],
        )
