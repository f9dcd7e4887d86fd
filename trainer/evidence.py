"""How much a z-score says against normal video, and what several of them count together: numpy alone, for scoring too."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

LOGISTIC_PER_STD = np.pi / np.sqrt(3)  # a logistic distribution of standard deviation 1 has scale sqrt(3) / pi


def evidence(z_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return -log10 of the probability that normal video gives such a z or a greater one: 0 = none, 2 = 1 in 100.

    Sums of such logarithms are Fisher's way to combine tests. The tail is that of a logistic distribution, because
    * it falls as exp(-z): a wild z counts in proportion, where a Gaussian tail would let its square drown the others;
    * it levels off at 0 below the mean: to be unusually normal in one respect excuses nothing in another;
    * it never saturates, so that no two different z become a tie, as clipping and empirical quantiles make them.
    """
    return np.asarray(np.logaddexp(0.0, z_N * LOGISTIC_PER_STD) / np.log(10))


def or_equal(weights: Mapping[str, float]) -> dict[str, float]:
    """Return weights as they are, or 1 for all where each is 0: then there is nothing to prefer one by."""
    return dict(weights) if any(weights.values()) else dict.fromkeys(weights, 1.0)
