"""Scores that anybody may have: one CSV file, or a folder with one per video, such as ``stpa score`` leaves.

::

    video,frame,score,label        one line per scored frame, in any order; frames from 0; label 1 = anomalous, 0 = normal,
    01,0,0.12,0                    empty = the video has none; the column may be missing, and others are left aside
    01,1,0.13,0

    folder/01.csv                  the same without the column video: the file is called like it (quoted as in a URL);
                                   fused may stand for score

In each video the frames must follow each other without a gap: frames that are left out unsaid make numbers better. Those
that a method cannot score at the start and at the end are declared (``--dropped``), the same for all videos.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError
from scoring.metrics import Floats
from scoring.score_table import ScoreTable
from scoring.scores import FUSED

COLUMNS = ("video", "frame", "score")
LABEL = "label"
NAME = "score"
"""Of the protocol and of the score that a CSV file holds."""


@dataclass(frozen=True, kw_only=True)
class ScoreFile:
    """The scores of one evaluation, as they were found."""

    path: Path
    main: str
    """The score that stands for all."""
    tables: Mapping[str, ScoreTable]
    """Protocol -> scores."""
    lengths: Mapping[str, int]
    """Video -> frames, where that is known."""
    thresholds: Mapping[str, float | None]
    stored: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The content of the metrics.json beside them."""


def read_score_csv(path: Path) -> ScoreFile:
    """Read a CSV file of scores, or a folder of them.

    Raises
    ------
    DataError
        It is not of the form above; video, line and the two numbers that disagree are named.
    """
    if path.is_dir():
        files = {unquote(file.stem): file for file in sorted(path.glob("*.csv"))}
        rows = {video: _read_rows(file, video)[video] for video, file in files.items()}
    else:
        rows = _read_rows(path)
    frames, scores, labels = {}, {}, {}
    for video, found in rows.items():
        frame_N = np.array([row.frame for row in found], np.int64)
        order_N = np.argsort(frame_N, kind="stable")
        frames[video] = frame_N[order_N]
        scores[video] = np.array([row.score for row in found])[order_N]
        label_N = _labels(video, [row.label for row in found], path)
        if label_N is not None:
            labels[video] = label_N[order_N]
        check_scores(video, frames[video], scores[video], path)
    table = ScoreTable(frames=frames, labels=labels, scores={NAME: scores}, fps=dict.fromkeys(frames, 0.0))
    return ScoreFile(path=path, main=NAME, tables={NAME: table}, lengths={}, thresholds={NAME: None})


@dataclass(frozen=True, kw_only=True)
class _Row:
    frame: int
    score: float
    label: str


def _read_rows(path: Path, only: str | None = None) -> dict[str, list[_Row]]:
    """Return video -> rows; with ``only``, the file is of that video alone."""
    rows: dict[str, list[_Row]] = {}
    columns = COLUMNS if only is None else COLUMNS[1:]
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            place = {name.strip(): number for number, name in enumerate(next(lines, []))}
            if only is not None and FUSED in place:
                place.setdefault(NAME, place[FUSED])
            if not set(columns) <= set(place):
                raise DataError(f"{path}: expected the columns {','.join(columns)}[,{LABEL}], found {','.join(place)!r}")
            for cells in filter(any, lines):
                row = _parse(cells, place, f"{path}, line {lines.line_num}")
                rows.setdefault(cells[place["video"]].strip() if only is None else only, []).append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a CSV file in UTF-8 or the folder of an evaluation, found: {error}") from error
    if not rows:
        raise DataError(f"{path}: expected one line per scored frame, found none")
    return rows


def _parse(cells: Sequence[str], place: Mapping[str, int], line: str) -> _Row:
    try:
        frame, score = int(cells[place["frame"]]), float(cells[place["score"]])
        label = cells[place[LABEL]].strip() if LABEL in place else ""
    except (ValueError, IndexError):
        raise DataError(
            f"{line}: expected a whole number for frame and a number for score, found {','.join(cells)!r}"
        ) from None
    return _Row(frame=frame, score=score, label=label)


def _labels(video: str, texts: Sequence[str], path: Path) -> NDArray[np.bool_] | None:
    given = [text for text in texts if text]
    if not given:
        return None
    if len(given) != len(texts):
        raise DataError(f"{path}: video {video}: expected a label for each of {len(texts)} scores, found {len(given)}")
    bad = [text for text in given if text not in ("0", "1")]
    if bad:
        raise DataError(f"{path}: video {video}: expected labels 0 and 1, found {bad[0]!r} ({len(bad)} of {len(given)})")
    return np.array([text == "1" for text in texts], np.bool_)


def check_scores(video: str, frame_N: NDArray[np.int64], score_N: Floats, path: Path) -> None:
    """Raise DataError unless frames are consecutive and distinct, and their scores finite."""
    bad_N = ~np.isfinite(score_N)
    if bad_N.any():
        raise DataError(
            f"{path}: video {video}: expected {len(score_N)} finite scores, found {int(bad_N.sum())} that are not "
            f"({score_N[bad_N][0]}), first at frame {frame_N[bad_N][0]}"
        )
    step_N = np.diff(frame_N)
    if (step_N == 0).any():
        frame = frame_N[:-1][step_N == 0][0]
        raise DataError(
            f"{path}: video {video}: expected one score per frame, found {len(frame_N)} scores of "
            f"{len(np.unique(frame_N))} frames; frame {frame} is the first with more than one"
        )
    if len(frame_N) and (frame_N[0] < 0 or (step_N > 1).any()):
        wanted = frame_N[-1] - frame_N[0] + 1
        after = frame_N[:-1][step_N > 1][0] + 1 if (step_N > 1).any() else frame_N[0]
        raise DataError(
            f"{path}: video {video}: expected frames {frame_N[0]} to {frame_N[-1]} without a gap ({wanted} scores, from 0), "
            f"found {len(frame_N)}; frame {after} is the first that does not fit"
        )
