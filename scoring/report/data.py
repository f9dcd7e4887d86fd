"""What the page's script reads, as one JSON value that no text in it can break out of."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoring.maps import STEPS_PER_DOUBLING
from scoring.protocols import PROTOCOLS
from scoring.report.colours import heat_colours
from scoring.report.curves import curves
from scoring.report.evaluation import Evaluation, Lines, Table, Video
from scoring.report.highlights import Moment
from scoring.report.pictures import Pictures
from scoring.scores import FUSED
from scoring.timeline import stretches

TOP_PERCENTILE = 99.8  # of all fused scores: one wild frame must not flatten every other line
WILD = 1.5  # times that; what is not so wild is not cut off
DECIMALS = 3
NUMBER_SIZE = 6  # characters, with its comma
MOST_BOXES = 8  # per frame


def page_data(
    evaluation: Evaluation, pictures: Pictures, moments: dict[str, list[Moment]], size: tuple[int, int]
) -> dict[str, Any]:
    """Return everything but the pictures themselves, as plain JSON values; ``size`` is that of stored frames."""
    return {
        "shown": evaluation.shown,
        "first": first_look(evaluation),
        "size": size,
        "protocols": {name: _protocol(evaluation, name) for name in evaluation.protocols},
        "videos": [
            _video(evaluation, video, sorted(found["frame"]))
            for video, found in zip(evaluation.videos, pictures.videos, strict=True)
        ],
        "moments": {kind: [asdict(moment) for moment in found] for kind, found in moments.items()},
        "step": pictures.step,
        "flow_full": pictures.scale.flow,
        "maps": [{"name": name, "full": full} for name, full in pictures.scale.maps.items()],
        "region_threshold": evaluation.region_rule.get("threshold"),
        "region_sources": evaluation.region_rule.get("sources", []),
        "steps_per_doubling": STEPS_PER_DOUBLING,
        "heat": heat_colours(),
    }


def lines_size(evaluation: Evaluation) -> int:
    """Return about how many characters the scores of all frames take."""
    numbers = 0
    for video in evaluation.videos:
        numbers += video.record.num_frames * sum(len(part.drawn) for part in video.protocols.values())
    return NUMBER_SIZE * numbers


def first_look(evaluation: Evaluation) -> dict[str, int]:
    """Return video and frame of the highest score among anomalous frames, or among all where there is none."""
    anomalous = any((video.protocols[evaluation.shown].label_N == 1).any() for video in evaluation.videos)
    best, highest = {"video": 0, "frame": 0}, -np.inf
    for place, video in enumerate(evaluation.videos):
        part = video.protocols[evaluation.shown]
        value_N = np.where(part.label_N == 1, part.score[FUSED], -np.inf) if anomalous else part.score[FUSED]
        row = int(np.argmax(value_N))
        if value_N[row] > highest:
            best, highest = {"video": place, "frame": int(part.frame_N[row])}, float(value_N[row])
    return best


def embed(value: Any) -> str:
    """Return JSON for inside a script element: no character in it can end the element or begin a comment."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _protocol(evaluation: Evaluation, name: str) -> dict[str, Any]:
    drawn = [video.protocols[name].drawn for video in evaluation.videos]
    threshold = evaluation.threshold(name)
    highest_N = np.concatenate([np.max(list(part.values()), axis=0) for part in drawn])
    top, highest = float(np.percentile(highest_N, TOP_PERCENTILE)) * 1.05, float(highest_N.max())
    if highest < WILD * top:
        top = highest * 1.05
    return {
        "per_video": PROTOCOLS[name].per_video,
        "threshold": threshold,
        "lines": list(drawn[0]),
        "top": round(max(top, 1.15 * (threshold or 0.0), 1e-3), DECIMALS),
        "highest": round(highest, DECIMALS),
        "curves": curves(evaluation, name),
        "anomalous": _anomalous_share(evaluation, name),
    }


def _anomalous_share(evaluation: Evaluation, protocol: str) -> float | None:
    label_N = np.concatenate([video.protocols[protocol].label_N for video in evaluation.videos])
    return round(float((label_N[label_N >= 0] == 1).mean()), DECIMALS) if (label_N >= 0).any() else None


def _video(evaluation: Evaluation, video: Video, kept: list[int]) -> dict[str, Any]:
    length = video.record.num_frames
    fused = {name: evaluation.metrics["protocols"][name][FUSED]["per_video"] for name in evaluation.protocols}
    return {
        "id": video.record.id,
        "frames": length,
        "fps": video.record.fps,
        "truth": stretches(video.labels.frame_T) if video.labels else None,
        "kept": None if len(kept) == length else kept,
        "lines": {name: _lines(part, length) for name, part in video.protocols.items()},
        "auc": {name: found.get(video.record.id, {}).get("auc") for name, found in fused.items()},
        "regions": _regions(video.regions, kept),
    }


def _lines(part: Lines, length: int) -> dict[str, list[float | None]]:
    found = {}
    for name, value_N in part.drawn.items():
        value_T = np.full(length, np.nan)
        value_T[part.frame_N] = value_N
        found[name] = numbers(value_T)
    return found


def numbers(value_T: NDArray[np.float64]) -> list[float | None]:
    """Return rounded values, None where there is none."""
    return [round(value, DECIMALS) if np.isfinite(value) else None for value in value_T.tolist()]


def _regions(table: Table, kept: list[int]) -> dict[int, list[list[float]]]:
    """Return frame -> rows of x1, y1, x2, y2, score, source, the highest first; stored pixels, x2 and y2 are outside.

    Only of frames that have pictures, and of each the highest few: more would hide the frame.
    """
    found: dict[int, list[list[float]]] = {}
    if table:
        table = {name: column_R[np.isin(table["frame"], kept)] for name, column_R in table.items()}
        box_R4 = np.stack([table["x1"], table["y1"], table["x2"] + 1, table["y2"] + 1], 1).tolist()
        rows = zip(table["frame"].tolist(), box_R4, table["score"].tolist(), table["source"].tolist(), strict=True)
        for frame, box, score, source in rows:
            found.setdefault(frame, []).append([*box, round(score, DECIMALS), source])
    return {frame: sorted(rows, key=lambda row: -row[4])[:MOST_BOXES] for frame, rows in found.items()}
