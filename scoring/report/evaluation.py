"""What the report shows of an evaluation, read from its artifact: lines over time, truth, regions, metrics."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Inputs, Labels, VideoRecord
from scoring.protocols import PROTOCOLS
from scoring.region_store import read_regions
from scoring.scores import FUSED
from scoring.store import read_scores

CONTRIBUTION, SCORE = "contribution.", "score."
Table = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Lines:
    """One video under one protocol; all arrays are (N,) of the frames ``frame_N``, ascending."""

    frame_N: NDArray[np.int64]
    label_N: NDArray[np.int8]
    """1 = anomalous, 0 = normal, -1 = no label."""
    score: dict[str, NDArray[np.float64]]
    """As the protocol compares them: each fused indicator, and ``fused`` last."""
    drawn: dict[str, NDArray[np.float64]]
    """What the timeline shows: shares of the fused score, or, where min-max hides those, each indicator's own score."""


@dataclass(frozen=True, kw_only=True)
class Video:
    """One test video."""

    record: VideoRecord
    labels: Labels | None
    protocols: dict[str, Lines]
    regions: Table = field(repr=False)
    """Columns of the regions that were found, (R,) each, see :mod:`scoring.region_store`; empty where none are kept."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The content of an evaluation's folder, as far as it is shown."""

    folder: Path
    metrics: dict[str, Any]
    videos: list[Video]
    region_rule: dict[str, Any]
    """Attributes of the table of regions: ``threshold`` of an alarm and names of ``sources``; empty where there is none."""

    @property
    def protocols(self) -> list[str]:
        """Return the names of the protocols, in the order of the metrics."""
        return list(self.metrics["protocols"])

    @property
    def shown(self) -> str:
        """Return the protocol that is shown first: one under which scores of different videos compare."""
        return min(self.protocols, key=lambda name: PROTOCOLS[name].per_video)

    @property
    def fused(self) -> list[str]:
        """Return the names of the fused indicators, in order."""
        return list(self.metrics["protocols"][self.shown]["fusion_weights"])

    def threshold(self, protocol: str) -> float | None:
        """Return the calibrated threshold of the fused score, where the evaluation has one for this protocol."""
        value: float | None = self.metrics["protocols"][protocol].get("threshold")
        return value


def read_evaluation(inputs: Inputs) -> Evaluation:
    """Read the complete artifact of the eval stage.

    Raises
    ------
    MissingShardError
        There is none under these settings; the message names the command.
    """
    folder = inputs.folder("eval")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    tables = {name: read_scores(folder, name) for name in metrics["protocols"]}
    regions, rule = read_regions(folder) or ({}, {})
    videos = [
        Video(
            record=record,
            labels=inputs.labels(record),
            protocols={
                name: lines(table[record.id], name, metrics["protocols"][name]["fusion_weights"])
                for name, table in tables.items()
            },
            regions=regions.get(record.id, {}),
        )
        for record in inputs.videos("test")
    ]
    return Evaluation(folder=folder, metrics=metrics, videos=videos, region_rule=rule)


def lines(table: Table, protocol: str, fused: Iterable[str]) -> Lines:
    """Return what is shown of the table of one video; ``fused`` names its indicators, in order."""
    names = [name for name in fused if CONTRIBUTION + name in table]
    score = {name: table[SCORE + name] for name in (*names, FUSED)}
    drawn = score
    if not PROTOCOLS[protocol].per_video:
        drawn = {name: table[CONTRIBUTION + name] for name in names} | {FUSED: score[FUSED]}
    return Lines(frame_N=table["frame"].astype(np.int64), label_N=table["label"], score=score, drawn=drawn)
