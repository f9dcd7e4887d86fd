"""From the frames of a video to what models see: the same for stored artifacts and for video that is scored as it comes."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.config import FlowsSettings, FramesSettings
from pipeline.datasets.images import swap_to_rgb
from pipeline.datasets.reader import resize_frame, resize_frames, to_grey
from pipeline.models.flow import CLASSICAL, open_flow_estimator, resize_flow

FlowMaker = Callable[[NDArray[np.uint8]], NDArray[np.float16]]
"""frames (T, H, W, C) uint8 -> flow (T-1, 2, h, w) float16, pixels per frame at model resolution."""

PAIRS_AT_ONCE = 4  # of an estimator that sees one after another: their flow then stays in the processor's cache


def model_frames(frames_THWC: NDArray[np.uint8], settings: FramesSettings) -> NDArray[np.uint8]:
    """Return RGB frames (T, H, W, 3) of any size as the frames stage stores them: (T, height, width, C), C = 1 or 3."""
    resized_THWC = resize_frames(frames_THWC, settings.height, settings.width)
    return to_grey(resized_THWC)[..., None] if settings.colour == "grey" else resized_THWC


def model_frame(
    picture: NDArray[np.uint8], out: NDArray[np.uint8] | None = None, *, settings: FramesSettings
) -> NDArray[np.uint8]:
    """Return what :func:`model_frames` does, (height, width, C), of one picture as OpenCV decodes it: (H, W, 3) BGR or grey.

    Channels are put in order behind the resizing, where there are fewer pixels; the bytes are the same. They are
    written into ``out`` where that is given.
    """
    small = resize_frame(picture, settings.height, settings.width)
    if settings.colour == "rgb":
        return swap_to_rgb(small, out)
    grey_HW1: NDArray[np.uint8] = to_grey(swap_to_rgb(small)[None])[0][..., None]
    if out is None:
        return grey_HW1
    out[...] = grey_HW1
    return out


def open_flow(flows: FlowsSettings, frames: FramesSettings) -> FlowMaker:
    """Return what makes flow as the flows stage stores it, of frames of the size that ``flows.source`` says.

    Raises
    ------
    ConfigError
        No estimator has this name, or its weights are those of another model.
    FileNotFoundError
        Its weights are missing.
    """
    estimate = open_flow_estimator(flows)

    def make(frames_THWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        return to_half(resize_flow(estimate(frames_THWC), frames.height, frames.width))

    def make_in_turns(frames_THWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        pairs = len(frames_THWC) - 1
        flow_T2HW = np.empty((pairs, 2, frames.height, frames.width), np.float16)
        for start in range(0, pairs, PAIRS_AT_ONCE):
            stop = min(start + PAIRS_AT_ONCE, pairs)
            flow_T2HW[start:stop] = make(frames_THWC[start : stop + 1])
        return flow_T2HW

    return make_in_turns if flows.estimator in CLASSICAL else make  # networks see as many at once as they were told to


def to_half(flow_T2HW: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return what ``astype(np.float16)`` does, bit for bit; OpenCV 5 takes a third of the time."""
    if int(cv2.__version__.partition(".")[0]) < 5 or not flow_T2HW.size:
        return flow_T2HW.astype(np.float16)
    rows = flow_T2HW.reshape(-1, flow_T2HW.shape[-1])
    return np.asarray(cv2.subtract(rows, 0.0, dtype=cv2.CV_16F), np.float16).reshape(flow_T2HW.shape)  # type: ignore[call-overload]
