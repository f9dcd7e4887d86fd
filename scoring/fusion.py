"""Several indicators into one score, with weights and scales that come from training data alone.

The exception is :func:`oracle_weights`, which asks the test labels: for comparison with the literature, and no result.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from trainer.evidence import evidence, or_equal

__all__ = ["evidence", "fuse", "or_equal", "oracle_weights"]

ORACLE_GRID = tuple(step / 10 for step in range(11))
MOST_SWEEPS = 10


def fuse(evidence_by_indicator: Mapping[str, NDArray[np.float64]], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the weighted sum of evidence, (N,) float64; KeyError if an indicator has no weight."""
    parts = [weights[name] * evidence_N for name, evidence_N in evidence_by_indicator.items()]
    return np.asarray(np.sum(parts, axis=0))


def oracle_weights(start: Mapping[str, float], quality: Callable[[Mapping[str, float]], float]) -> dict[str, float]:
    """Return the weights, 0..1 each, that are best by the test labels: what tuning by hand can reach, and not a detector.

    One weight after another takes the value of a grid of tenths at which ``quality`` (of weights, higher = better) is
    highest, until none gets better. It begins at ``start``, so that it is never worse than that.
    """
    best, value = dict(start), quality(start)
    for _ in range(MOST_SWEEPS):
        before = value
        for name in start:
            for weight in ORACLE_GRID:
                tried = best | {name: weight}
                if any(tried.values()) and (reached := quality(tried)) > value:
                    best, value = tried, reached
        if value == before:
            break
    return best
