"""Optical flow estimators behind one small interface. Imports no torch by itself."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.config import FLOW_FILES, ConfigError, FlowsSettings
from pipeline.models.flow_weights import DEFAULT

FlowEstimator = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""frames (T, H, W, C) uint8, C = 1 (grey) or 3 (RGB) -> flow (T-1, 2, H, W) float32.

flow[i] maps frame i to i+1, x to the right, then y down, pixels per frame.
"""


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

    return _over_grey_pairs(pair)


def dis() -> FlowEstimator:
    """Return dense inverse search (Kroeger et al., ECCV 2016), OpenCV's medium preset: its finest scale is half the size."""
    return _dis(finest_scale=1)


def dis_fine() -> FlowEstimator:
    """Return the same down to the full size, which takes longer: limbs and neighbours are told apart."""
    return _dis(finest_scale=0)


def _dis(finest_scale: int) -> FlowEstimator:
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    estimator.setFinestScale(finest_scale)

    def pair(first_HW: NDArray[np.uint8], second_HW: NDArray[np.uint8]) -> Any:
        return estimator.calc(first_HW, second_HW, None)  # type: ignore[call-overload]

    return _over_grey_pairs(pair)


def tvl1() -> FlowEstimator:
    """Return total variation with an L1 data term (Zach et al., DAGM 2007), with OpenCV's default parameters."""
    if not hasattr(cv2, "optflow"):
        raise ConfigError(
            f"flows.estimator: tvl1 needs the contributed modules of OpenCV, found a build without them (cv2 "
            f"{cv2.__version__}); uninstall every opencv package and install opencv-contrib-python-headless"
        )
    estimator = cv2.optflow.DualTVL1OpticalFlow.create()

    def pair(first_HW: NDArray[np.uint8], second_HW: NDArray[np.uint8]) -> Any:
        return estimator.calc(first_HW, second_HW, None)  # type: ignore[call-overload]

    return _over_grey_pairs(pair)


CLASSICAL: dict[str, Callable[[], FlowEstimator]] = {"farneback": farneback, "dis": dis, "dis-fine": dis_fine, "tvl1": tvl1}
"""Estimators without weights."""
NETWORKS = tuple(DEFAULT)
"""Estimators with weights."""


def open_flow_estimator(settings: FlowsSettings) -> FlowEstimator:
    """Return the estimator that the settings name, ready to use; weights are loaded.

    Raises
    ------
    ConfigError
        No estimator has this name, or the weights are those of another model.
    FileNotFoundError
        There are no weights.
    """
    name = settings.estimator
    if name in CLASSICAL:
        return CLASSICAL[name]()
    check_flow_estimator(settings)
    from pipeline.models.flow_raft import open_raft

    return open_raft(settings)


def check_flow_estimator(settings: FlowsSettings) -> None:
    """Raise what :func:`open_flow_estimator` would, in about the time that reading the weights takes."""
    name = settings.estimator
    if name in CLASSICAL:
        CLASSICAL[name]()
    elif name in NETWORKS:
        from pipeline.models.flow_raft import check_raft

        check_raft(settings)  # reads the weights: a worker process that fails to could not say why
    elif name == FLOW_FILES:
        raise ConfigError(
            "flows.estimator = files: expected an estimator that finds the flow of new frames, found flow read from files, "
            "which are there for their own videos only; train on the flow of an estimator to score video of your own"
        )
    else:
        known = ", ".join((*CLASSICAL, *NETWORKS, FLOW_FILES))
        raise ConfigError(f"flows.estimator: expected one of {known}, found {name!r}")


def _over_grey_pairs(pair: Callable[[NDArray[np.uint8], NDArray[np.uint8]], Any]) -> FlowEstimator:
    def estimate(frames_THWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        flow_T2HW = np.empty((len(frames_THWC) - 1, 2, *frames_THWC.shape[1:3]), np.float32)
        for flow_2HW, (first_HW, second_HW) in zip(flow_T2HW, pairwise(map(_grey, frames_THWC)), strict=True):
            cv2.split(pair(first_HW, second_HW), [flow_2HW[0], flow_2HW[1]])  # while it is in the processor's cache
        return flow_T2HW

    return estimate


def _grey(frame_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if frame_HWC.shape[-1] == 1:
        return frame_HWC[..., 0]
    return np.asarray(cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2GRAY), np.uint8)


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
