"""The tail of what normal training windows show: which value so and so many of them reach, also beyond the highest."""

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError

TAIL = 0.1  # share of normal values to which the tail is fitted; with 512 windows the 51 highest


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
