"""From which score on a frame is an alarm: told by normal training windows alone, for a chosen rate of false alarms."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from scoring.fusion import evidence, fuse
from scoring.measure import Detector
from scoring.protocols import Protocol, TapName
from scoring.scores import Pooling, bundle_name, fusion_weights, raw_name
from scoring.tail import tail_threshold

__all__ = ["alarm_threshold", "normal_evidence", "tail_threshold"]


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
