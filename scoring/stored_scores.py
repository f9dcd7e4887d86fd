"""The scores that an evaluation left behind, read again without its model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from pipeline.contract import DataError
from scoring.protocols import PROTOCOLS
from scoring.score_files import ScoreFile, check_scores, read_score_csv
from scoring.score_table import ScoreTable
from scoring.scores import FUSED
from scoring.store import NAME, NO_LABEL, read_scores

METRICS = "metrics.json"


def read_score_file(path: Path) -> ScoreFile:
    """Read an evaluation's folder (eval-KEY, the data-... in it, or its scores.zarr), a CSV file, or a folder of such.

    Raises
    ------
    DataError
        There are no scores, or they are damaged; see :func:`scoring.score_files.read_score_csv` for CSV files.
    """
    evaluation = find_evaluation(path) if path.is_dir() else None
    return read_score_csv(path) if evaluation is None else read_evaluation(evaluation)


def find_evaluation(path: Path) -> Path | None:
    """Return the folder that holds scores.zarr; None if it is a folder of CSV files."""
    if path.name == NAME:
        return path.parent
    found = [folder for folder in (path, *sorted(path.glob("data-*"))) if (folder / NAME).is_dir()]
    if not found and any(path.glob("*.csv")):
        return None
    if len(found) != 1:
        names = ", ".join(folder.name for folder in found) or "none"
        raise DataError(f"{path}: expected the folder of one evaluation (with {NAME}) or of CSV files, found {names}")
    return found[0]


def read_evaluation(folder: Path) -> ScoreFile:
    """Read what the eval stage left in a folder; raises DataError if it is damaged."""
    try:
        stored: dict[str, Any] = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        group = zarr.open_group(folder / NAME, mode="r")
        attributes: dict[str, Any] = dict(group.attrs)
        names = [name for name in PROTOCOLS if name in stored["protocols"]]
        columns = {name: read_scores(folder, name) for name in names}
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise DataError(f"{folder}: expected {NAME} and {METRICS} of an evaluation, cannot read them: {error!r}") from error
    videos: Any = attributes["videos"]
    rates: Any = attributes.get("fps") or [0.0] * len(videos)
    fps = dict(zip(videos, rates, strict=True))
    tables = {name: _table(found, fps, folder, list(stored["protocols"][name])) for name, found in columns.items()}
    return ScoreFile(
        path=folder,
        main=FUSED,
        tables=tables,
        lengths=_lengths(attributes, tables),
        thresholds={name: stored["protocols"][name].get("threshold") for name in names},
        stored=stored,
    )


def _table(columns: dict[str, dict[str, Any]], fps: dict[str, float], folder: Path, known: list[str]) -> ScoreTable:
    """Return the scores in the order of ``known``: the disk lists columns as it likes."""
    names = [name.removeprefix("score.") for name in next(iter(columns.values())) if name.startswith("score.")]
    order = sorted(names, key=lambda name: (known.index(name) if name in known else len(known), name))
    for video, found in columns.items():
        for name in names:
            check_scores(video, found["frame"], found[f"score.{name}"], folder)
    return ScoreTable(
        frames={video: found["frame"].astype(np.int64) for video, found in columns.items()},
        labels={video: found["label"] == 1 for video, found in columns.items() if (found["label"] != NO_LABEL).all()},
        scores={name: {video: found[f"score.{name}"] for video, found in columns.items()} for name in order},
        fps=fps,
    )


def _lengths(attributes: dict[str, Any], tables: dict[str, ScoreTable]) -> dict[str, int]:
    """Return the frames of each video; evaluations of old, which do not say, tell by what their protocol drops."""
    if "frames" in attributes:
        return dict(zip(attributes["videos"], attributes["frames"], strict=True))
    name, table = next(iter(tables.items()))
    return {video: int(frame_N[-1]) + 1 + PROTOCOLS[name].dropped_last for video, frame_N in table.frames.items()}
