"""From what a model measures on one test video to the scores of its frames, under every protocol."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError, VideoRecord
from scoring.fusion import evidence, fuse, or_equal
from scoring.measure import Detector, Measured
from scoring.protocols import Protocol, TapName
from scoring.tail import tail_threshold

Pooling = Literal["region", "frame"]
Scores = dict[str, NDArray[np.float64]]

FUSED = "fused"
POOLED = ("spatial", "temporal", "motion")
"""Indicators that are maps, of which one number per frame has to be made."""
RARE = 0.01  # share of normal windows; far enough into the tail, and five of 512 windows lie beyond
SMALLEST_EVIDENCE = 0.1  # an indicator that never changes in normal video must not drown the others
SMALLEST_MSE = 1e-12  # 120 dB: a perfect reconstruction has no finite PSNR


class MissingScoreError(DataError):
    """A frame that a protocol scores has no score; it must never be counted as normal, or left out unsaid."""


@dataclass(frozen=True, kw_only=True)
class ProtocolScores:
    """One video under one protocol; all arrays are (N,) float64 of the frames ``frame_index_N``, higher = more abnormal."""

    frame_index_N: NDArray[np.int64]
    raw: Scores
    """As measured: ``<indicator>_region``, ``<indicator>_frame`` (mean squared error on -1..1) and ``semantic`` (logit)."""
    z: Scores
    """The same against normal training video, in standard deviations; errors on a log scale."""
    contribution: Scores = field(repr=False)
    """Weighted evidence of each fused indicator; their sum is the fused score before normalisation."""
    score: Scores
    """As the protocol compares them: each indicator, under both poolings, and ``fused``."""


def raw_name(indicator: str, pooling: Pooling) -> str:
    """Return the name, in raw and z, of an indicator under a pooling; only maps of errors are pooled."""
    return f"{indicator}_{pooling}" if indicator in POOLED else indicator


def bundle_name(raw: str) -> str:
    """Return how :class:`trainer.bundle.Bundle` calls a raw value."""
    indicator, _, pooling = raw.partition("_")
    return f"{indicator}_frame_mse" if pooling == "frame" else indicator


def score_names(indicators: tuple[str, ...], pooling: Pooling) -> dict[str, str]:
    """Return score name -> raw name: plain names stand for the chosen pooling, the other one keeps its suffix."""
    other: Pooling = "frame" if pooling == "region" else "region"
    names = {indicator: raw_name(indicator, pooling) for indicator in indicators}
    return names | {raw_name(name, other): raw_name(name, other) for name in indicators if name in POOLED}


def score_video(
    record: VideoRecord, measured: Measured, protocol: Protocol, detector: Detector, pooling: Pooling
) -> ProtocolScores:
    """Score every frame of a video that the protocol keeps.

    Raises
    ------
    MissingScoreError
        A kept frame was not measured, or a value is not finite.
    """
    require_scores(record, protocol, measured.frame_index_N, raw_values(measured, detector, pooling))
    scores = score_frames(measured, protocol, detector, pooling)
    normalised = {name: protocol.normalise(value_N) for name, value_N in scores.score.items()}
    scores = replace(scores, score=normalised)
    require_scores(record, protocol, scores.frame_index_N, scores.z | scores.score)
    return scores


def raw_values(measured: Measured, detector: Detector, pooling: Pooling) -> Scores:
    """Return what was measured, by raw name, of every indicator and pooling."""
    return {raw: measured.values[bundle_name(raw)] for raw in score_names(detector.indicators, pooling).values()}


def score_frames(measured: Measured, protocol: Protocol, detector: Detector, pooling: Pooling) -> ProtocolScores:
    """Score frames of a video that may be going on: nothing is normalised by the whole of it, nothing is checked."""
    names, raw = score_names(detector.indicators, pooling), raw_values(measured, detector, pooling)
    z = {name: detector.calibrate(protocol.tap, bundle_name(name), value_N) for name, value_N in raw.items()}
    weights = fusion_weights(detector, protocol, pooling)
    score = {name: _comparable(raw[key], z[key], key, protocol) for name, key in names.items()}
    score[FUSED] = fuse({name: evidence(z[names[name]]) for name in detector.indicators}, weights)
    return ProtocolScores(
        frame_index_N=measured.frame_index_N,
        raw=raw,
        z=z,
        contribution={name: weights[name] * evidence(z[names[name]]) for name in detector.indicators},
        score=score,
    )


def fusion_weights(detector: Detector, protocol: Protocol, pooling: Pooling) -> dict[str, float]:
    """Return what the evidence of each indicator counts in the fused score; nothing from the test split has a part in it.

    Its worth, 0..1 (:meth:`Detector.fusion_weight`), times its scale (:func:`evidence_scale`). Where no indicator tells any
    pseudo-anomaly from normal video, all are worth the same: there is nothing to prefer one by.
    """
    raw = {name: bundle_name(raw_name(name, pooling)) for name in detector.indicators}
    worth = or_equal({name: detector.fusion_weight(protocol.tap, found) for name, found in raw.items()})
    return {name: worth[name] * evidence_scale(detector, protocol.tap, found) for name, found in raw.items()}


def evidence_scale(detector: Detector, tap: TapName, name: str) -> float:
    """Return by what evidence is multiplied so that one in a hundred normal windows of new video reaches 2, as it says.

    z-scores are against windows that had a part in the yardstick. Measured as new video they spread further, errors of
    frames most (their values at a place vary much from video to video), so that their evidence would say more than it
    knows. 1 for a detector that does not know such windows.
    """
    value_W = detector.normal_values(tap, name)
    if value_W is None:
        return 1.0
    reached = tail_threshold(evidence(detector.calibrate(tap, name, value_W)), RARE)
    return -float(np.log10(RARE)) / max(reached, SMALLEST_EVIDENCE)


def psnr(mse_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 10 log10(1 / MSE), dB, of a mean squared error on -1..1; as published, without the peak's factor of 4."""
    return 10 * np.log10(1 / np.maximum(mse_N, SMALLEST_MSE))


def require_scores(record: VideoRecord, protocol: Protocol, frame_index_N: NDArray[np.int64], values: Scores) -> None:
    """Raise MissingScoreError unless every frame that the protocol keeps has a finite value, each exactly once."""
    expected_N = protocol.kept(record.num_frames)
    where = f"test video {record.id}, protocol {protocol.name}"
    if not np.array_equal(frame_index_N, expected_N):
        missing = np.setdiff1d(expected_N, frame_index_N)
        which = f"frame {missing[0]} is the first without" if len(missing) else "some frames have more than one"
        raise MissingScoreError(f"{where}: expected {len(expected_N)} scores, found {len(frame_index_N)}; {which}")
    for name, value_N in values.items():
        if value_N.shape != expected_N.shape:
            raise MissingScoreError(f"{where}: expected {len(expected_N)} values of {name}, found {len(value_N)}")
        bad_M = expected_N[~np.isfinite(value_N)]
        if len(bad_M):
            raise MissingScoreError(
                f"{where}: expected finite values of {name}, found {len(bad_M)} that are not, first at frame {bad_M[0]}; "
                f"make features and model again (stpa features --force, stpa train --force)"
            )


def _comparable(
    raw_N: NDArray[np.float64], z_N: NDArray[np.float64], name: str, protocol: Protocol
) -> NDArray[np.float64]:
    """Return -PSNR where the paper has it (whole frames, min-max per video), else z."""
    return -psnr(raw_N) if protocol.per_video and name.endswith("_frame") else z_N
