"""From which score on a frame is an alarm: told by normal training windows alone, for a chosen rate of false alarms."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError
from scoring.fusion import evidence, fuse
from scoring.measure import Detector
from scoring.protocols import Protocol, TapName
from scoring.scores import Pooling, bundle_name, fusion_weights, raw_name

TAIL = 0.1  # share of normal values to which the tail is fitted; with 512 windows the 51 highest


def alarm_threshold(detector: Detector, protocol: Protocol, pooling: Pooling, rate: float) -> float | None:
    """Return the fused score that a share ``rate`` of normal frames reaches; a frame is an alarm where score >= threshold.

    None under a protocol whose scores do not compare with those of training video (min-max per test video), and for a
    detector that does not know its training windows.
    """
    if protocol.per_video:
        return None
    weights = fusion_weights(detector, protocol, pooling)
    by_value = {bundle_name(raw_name(name, pooling)): weight for name, weight in weights.items()}
    fused_W = normal_evidence(detector, protocol.tap, by_value)
    return None if fused_W is None else tail_threshold(fused_W, rate)


def normal_evidence(
    detector: Detector, tap: TapName, weights: Mapping[str, float], suffix: str = ""
) -> NDArray[np.float64] | None:
    """Return the weighted evidence that normal training windows give, (W,) float64; None if they are not known.

    ``weights`` say what each value of a measurement counts. With a suffix (``_peak``), another value of the windows is taken
    on the same scale.
    """
    found = {}
    for name in weights:
        value_W = detector.normal_values(tap, name + suffix)
        if value_W is None:
            return None
        found[name] = evidence(detector.calibrate(tap, name, value_W))
    return fuse(found, weights)


def tail_threshold(score_W: NDArray[np.float64], rate: float) -> float:
    """Return the value that a share ``rate`` of such scores reaches or passes.

    Evidence falls exponentially by construction, so an exponential is fitted to what lies above the 90th percentile (peaks
    over a threshold): it uses all 51 highest of 512 values where the 99th percentile hangs on 5, and goes on beyond the
    highest. For rates above that of the tail it is the percentile itself.

    Raises
    ------
    DataError
        There is no value, or one is not finite.
    ValueError
        The rate is not between 0 and 1.
    """
    bad = int((~np.isfinite(score_W)).sum())
    if not len(score_W) or bad:
        raise DataError(
            f"expected finite scores of normal training windows, found {len(score_W)} of which {bad} are not; "
            f"train again (stpa train --force)"
        )
    if not 0 < rate < 1:
        raise ValueError(f"expected a rate of false alarms between 0 and 1, found {rate}")
    if rate >= TAIL:
        return float(np.quantile(score_W, 1 - rate))
    start = float(np.quantile(score_W, 1 - TAIL))
    above = score_W[score_W > start] - start
    if not len(above):  # one value throughout: whatever is above it is unusual
        return float(np.nextafter(start, np.inf))
    return start + float(above.mean()) * float(np.log(len(above) / len(score_W) / rate))
