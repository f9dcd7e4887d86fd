"""Moments worth a look: the worst false alarms, the worst misses, and the highest scores where there are no labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import CLIP_FRAMES
from scoring.report.evaluation import Evaluation, Lines
from scoring.scores import FUSED
from scoring.timeline import stretches

MOST = 6


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One frame, and why it is shown."""

    video: int
    """Its place among the test videos."""
    frame: int
    score: float
    stretch: tuple[int, int] | None = None
    """First frame and the one after the last of the anomalous stretch that was missed."""


def false_alarms(evaluation: Evaluation) -> list[Moment]:
    """Return the normal frames with the highest fused scores, a clip apart within a video, the worst first."""
    return _highest(evaluation, label=0)


def highest_unlabelled(evaluation: Evaluation) -> list[Moment]:
    """Return the frames without label with the highest fused scores, a clip apart within a video, the highest first."""
    return _highest(evaluation, label=-1)


def misses(evaluation: Evaluation) -> list[Moment]:
    """Return the anomalous stretches whose highest fused score is lowest, at that very frame; the worst first."""
    found = []
    for place, video in enumerate(evaluation.videos):
        part = video.protocols[evaluation.shown]
        for start, stop in stretches(video.labels.frame_T) if video.labels else []:
            inside_N = (part.frame_N >= start) & (part.frame_N < stop)
            if inside_N.any():
                row = int(np.argmax(np.where(inside_N, part.score[FUSED], -np.inf)))
                found.append(_moment(place, part, row, (start, stop)))
    return sorted(found, key=lambda moment: moment.score)[:MOST]


def _highest(evaluation: Evaluation, label: int) -> list[Moment]:
    found = []
    for place, video in enumerate(evaluation.videos):
        part = video.protocols[evaluation.shown]
        found += [_moment(place, part, row) for row in peaks(part, part.label_N == label)]
    return sorted(found, key=lambda moment: -moment.score)[:MOST]


def peaks(part: Lines, chosen_N: NDArray[np.bool_]) -> list[int]:
    """Return the rows of the highest fused scores among the chosen ones, each a clip away from those before it."""
    left_N = np.where(chosen_N, part.score[FUSED], -np.inf)
    rows: list[int] = []
    while len(rows) < MOST and np.isfinite(left_N).any():
        rows.append(int(np.argmax(left_N)))
        left_N[np.abs(part.frame_N - part.frame_N[rows[-1]]) < CLIP_FRAMES] = -np.inf
    return rows


def _moment(place: int, part: Lines, row: int, stretch: tuple[int, int] | None = None) -> Moment:
    return Moment(video=place, frame=int(part.frame_N[row]), score=float(part.score[FUSED][row]), stretch=stretch)
