"""What each part of the score is worth: an evaluation's stored scores fused anew, without its model.

Rows: the fused score; each indicator alone, under both poolings; the fused score without each of them in turn (without
``semantic``: without the discriminator); with equal weights; pooled the other way (by frame: mean squared error, as
published); and with weights tuned on the test labels, which is marked as an oracle.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from pipeline.contract import DataError
from scoring.fusion import evidence, fuse, or_equal, oracle_weights
from scoring.metrics import LabelledScores, overall
from scoring.protocols import PROTOCOLS, Protocol
from scoring.scores import FUSED, Pooling, raw_name, score_names
from scoring.store import NO_LABEL, read_about, read_scores

METRICS = "metrics.json"
ORIGIN = ("dataset", "artifact", "model", "seed", "pooling", "videos", "frames", "labelled_frames", "anomalous_frames")
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The labelled videos of one protocol's table; per video, name -> (N,) values."""

    protocol: Protocol
    indicators: tuple[str, ...]
    pooling: Pooling
    weights: Mapping[str, float]
    """What each raw value counts, by training data."""
    label: dict[str, NDArray[np.bool_]]
    z: dict[str, dict[str, Floats]] = field(repr=False)
    score: dict[str, dict[str, Floats]] = field(repr=False)

    def weights_by(self, pooling: Pooling) -> dict[str, float]:
        """Return the weight of each indicator under a pooling; all alike where training data prefer none."""
        return or_equal({name: self.weights[raw_name(name, pooling)] for name in self.indicators})

    def alone(self, name: str) -> LabelledScores:
        """Return a stored score."""
        return {video: (label_N, self.score[video][name]) for video, label_N in self.label.items()}

    def fused(self, weights: Mapping[str, float], pooling: Pooling) -> LabelledScores:
        """Return the score that some indicators give with these weights."""
        found = {}
        for video, label_N in self.label.items():
            parts = {name: evidence(self.z[video][raw_name(name, pooling)]) for name in weights}
            found[video] = (label_N, self.protocol.normalise(fuse(parts, weights)))
        return found


def ablate(folder: Path) -> dict[str, Any]:
    """Return the rows of every protocol of an evaluation, plain JSON; metrics are None where there are no labels.

    Raises
    ------
    DataError
        The evaluation is of an older version, damaged, or a score in it is not finite (the video is named).
    """
    try:
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        stored = [read_stored(folder, PROTOCOLS[name]) for name in metrics["protocols"]]
    except (OSError, KeyError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{folder}: expected an evaluation, cannot read it ({error!r}); stpa eval --force") from error
    rows = {part.protocol.name: _with_differences(list(_rows(part))) for part in stored}
    return {
        **{name: metrics.get(name) for name in ORIGIN},
        "protocols": {
            part.protocol.name: {
                "rules": metrics["protocols"][part.protocol.name].get("rules"),
                "rows": rows[part.protocol.name],
            }
            for part in stored
        },
        "baselines": metrics["baselines"],
    }


def read_stored(folder: Path, protocol: Protocol) -> Stored:
    """Read what an evaluation stored under a protocol; DataError as :func:`ablate` says."""
    about = read_about(folder, protocol.name)
    if "weights" not in about:
        raise DataError(f"{folder}: expected the weight of every value beside the scores, found none; stpa eval --force")
    tables = read_scores(folder, protocol.name)
    for video, table in tables.items():
        for name, column_N in table.items():
            bad_M = table["frame"][~np.isfinite(column_N)]
            if len(bad_M):
                raise DataError(
                    f"{folder}, test video {video}, protocol {protocol.name}: expected finite values of {name}, found "
                    f"{len(bad_M)} that are not, first at frame {bad_M[0]}; stpa eval --force"
                )
    labelled = {video: table for video, table in tables.items() if (table["label"] != NO_LABEL).all()}
    return Stored(
        protocol=protocol,
        indicators=tuple(about["indicators"]),
        pooling=about["pooling"],
        weights=about["weights"],
        label={video: table["label"] == 1 for video, table in labelled.items()},
        z={video: _columns(table, "z.") for video, table in labelled.items()},
        score={video: _columns(table, "score.") for video, table in labelled.items()},
    )


def _columns(table: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, Floats]:
    return {name.removeprefix(prefix): column_N for name, column_N in table.items() if name.startswith(prefix)}


def _rows(stored: Stored) -> Iterator[dict[str, Any]]:
    chosen: Pooling = stored.pooling
    other: Pooling = "frame" if chosen == "region" else "region"
    learnt = stored.weights_by(chosen)
    yield _row(FUSED, "fused", stored.alone(FUSED), chosen, learnt)
    for name in score_names(stored.indicators, chosen):
        yield _row(f"{name} alone", "alone", stored.alone(name), other if name.endswith(f"_{other}") else chosen)
    for left_out in stored.indicators if len(stored.indicators) > 1 else ():
        weights = or_equal({name: weight for name, weight in learnt.items() if name != left_out})
        yield _row(f"without {left_out}", "without", stored.fused(weights, chosen), chosen, weights)
    equal = dict.fromkeys(stored.indicators, 1.0)
    yield _row("equal weights", "equal", stored.fused(equal, chosen), chosen, equal)
    by_other = stored.weights_by(other)
    yield _row(f"pooled by {other}", "pooling", stored.fused(by_other, other), other, by_other)
    for pooling in (chosen, other):
        yield _oracle_row(stored, pooling)


def _oracle_row(stored: Stored, pooling: Pooling) -> dict[str, Any]:
    start = stored.weights_by(pooling)
    weights = oracle_weights(start, Quality(stored, pooling)) if stored.label else start
    return _row(f"weights by labels, {pooling}", "oracle", stored.fused(weights, pooling), pooling, weights, oracle=True)


class Quality:
    """The micro-AUC of fused scores by their weights, again and again: evidence is worked out once."""

    def __init__(self, stored: Stored, pooling: Pooling) -> None:
        self._protocol = stored.protocol
        self._evidence = {
            name: np.concatenate([evidence(z[raw_name(name, pooling)]) for z in stored.z.values()])
            for name in stored.indicators
        }
        self._label_N = np.concatenate(list(stored.label.values()))
        self._cuts = np.cumsum([len(label_N) for label_N in stored.label.values()])[:-1]

    def __call__(self, weights: Mapping[str, float]) -> float:
        """Return it as :func:`scoring.metrics.auc` does, 0 where it is undefined."""
        score_N = fuse(self._evidence, weights)
        normalised = [self._protocol.normalise(part_N) for part_N in np.split(score_N, self._cuts)]
        rank_A = rankdata(np.concatenate(normalised))[self._label_N]
        pairs = len(rank_A) * (len(score_N) - len(rank_A))
        return float(rank_A.sum() - len(rank_A) * (len(rank_A) + 1) / 2) / pairs if pairs else 0.0


def _row(
    name: str,
    kind: str,
    videos: LabelledScores,
    pooling: Pooling,
    weights: Mapping[str, float] | None = None,
    *,
    oracle: bool = False,
) -> dict[str, Any]:
    about = {"name": name, "kind": kind, "pooling": pooling, "weights": None if weights is None else dict(weights)}
    return about | {"oracle": oracle} | overall(videos)


def _with_differences(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add by how much the micro-AUC of each row is above that of the fused score."""
    fused = rows[0]["micro_auc"]
    for row in rows:
        row["difference"] = None if fused is None or row["micro_auc"] is None else row["micro_auc"] - fused
    return rows
