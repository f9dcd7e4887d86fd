"""Optical flow estimators behind one small interface."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.config import ConfigError

FlowEstimator = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""frames (T, H, W) uint8 grey -> flow (T-1, 2, H, W) float32; flow[i] maps frame i to i+1, x then y, pixels per frame."""


def farneback() -> FlowEstimator:
    """Return Farneback's polynomial expansion (SCIA 2003) with the parameters of OpenCV's own example."""

    def pair(first_HW: NDArray[np.uint8], second_HW: NDArray[np.uint8]) -> Any:
        return cv2.calcOpticalFlowFarneback(
            first_HW,
            second_HW,
            None,  # type: ignore[call-overload]
            pyr_scale=0.5,
            levels=3,
            winsize=15,
            iterations=3,
            poly_n=5,
            poly_sigma=1.2,
            flags=0,
        )

    return _over_pairs(pair)


def dis() -> FlowEstimator:
    """Return dense inverse search (Kroeger et al., ECCV 2016), OpenCV's medium preset."""
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def pair(first_HW: NDArray[np.uint8], second_HW: NDArray[np.uint8]) -> Any:
        return estimator.calc(first_HW, second_HW, None)  # type: ignore[call-overload]

    return _over_pairs(pair)


ESTIMATORS: dict[str, Callable[[], FlowEstimator]] = {"farneback": farneback, "dis": dis}


def open_flow_estimator(name: str) -> FlowEstimator:
    """Return the estimator of this name, ready to use.

    Raises
    ------
    ConfigError
        No estimator has this name.
    """
    if name not in ESTIMATORS:
        raise ConfigError(f"flows.estimator: expected one of {', '.join(ESTIMATORS)}, found {name!r}")
    return ESTIMATORS[name]()


def _over_pairs(pair: Callable[[NDArray[np.uint8], NDArray[np.uint8]], Any]) -> FlowEstimator:
    def estimate(frames_THW: NDArray[np.uint8]) -> NDArray[np.float32]:
        flows = [pair(first, second) for first, second in pairwise(frames_THW)]
        return np.ascontiguousarray(np.stack(flows).transpose(0, 3, 1, 2), np.float32)

    return estimate


def resize_flow(flow_T2HW: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Resize flow (T, 2, H, W) and rescale its vectors, so that they stay pixels per frame at the new size."""
    old_height, old_width = flow_T2HW.shape[2:]
    if (old_height, old_width) == (height, width):
        return flow_T2HW
    interpolation = cv2.INTER_AREA if height * width < old_height * old_width else cv2.INTER_LINEAR
    scale_2 = np.array([width / old_width, height / old_height], np.float32)
    resized = [
        cv2.resize(flow_2HW.transpose(1, 2, 0), (width, height), interpolation=interpolation) * scale_2
        for flow_2HW in flow_T2HW
    ]
    return np.ascontiguousarray(np.stack(resized).transpose(0, 3, 1, 2), np.float32)
