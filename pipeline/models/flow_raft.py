"""RAFT (Teed and Deng, ECCV 2020) over the frames of a video: torchvision's networks, its loop arranged for many pairs.

Three things make it faster than calling the model for pair after pair, and none changes the result beyond rounding:

* several pairs at once;
* features of a frame are computed once, though it is the second of one pair and the first of the next;
* only the last of the updates is brought up to full size; training needs them all, nobody here does.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models.optical_flow import RAFT, raft_large, raft_small
from torchvision.models.optical_flow._utils import make_coords_grid, upsample_flow

from pipeline.config import FlowsSettings
from pipeline.models.devices import pick_device
from pipeline.models.flow import resize_flow
from pipeline.models.flow_weights import require_weights
from pipeline.models.torch_hub import check_tensors, load_tensors

MODELS = {"raft-small": raft_small, "raft-large": raft_large}
SMALLEST = 128  # pixels per side: below, the coarsest correlations have a single value and torchvision refuses
MULTIPLE = 8  # the networks see an eighth of the size


class RaftFlow:
    """A :data:`pipeline.models.flow.FlowEstimator`: frames (T, H, W, C) uint8 in, flow (T-1, 2, H, W) float32 out.

    Grey frames become three equal channels. Sides that are no multiple of 8 are padded by repeating the edge, on both
    ends alike, and cut again. Frames with a side below 128 pixels are enlarged, and the vectors scaled back.

    Parameters
    ----------
    model
        In evaluation mode, on its device.
    updates
        How often the flow is refined.
    batch_size
        Pairs at once.
    half
        Type of the networks' arithmetic under autocast; none = that of the weights. Correlations and flow stay fp32.
    """

    def __init__(self, model: RAFT, *, updates: int, batch_size: int, half: torch.dtype | None = None) -> None:
        self._model: Any = model
        self._device = next(model.parameters()).device
        self._updates = updates
        self._batch_size = batch_size
        self._half = half

    def __call__(self, frames_THWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the flow from each frame to the next.

        Raises
        ------
        ValueError
            These are no two or more grey or RGB frames of type uint8.
        """
        if frames_THWC.ndim != 4 or frames_THWC.shape[-1] not in (1, 3) or frames_THWC.dtype != np.uint8:
            raise ValueError(f"expected frames (T, H, W, 1 or 3) uint8, found {frames_THWC.shape} {frames_THWC.dtype}")
        if len(frames_THWC) < 2:
            raise ValueError(f"expected two frames or more, found {len(frames_THWC)}")
        with torch.inference_mode():
            flow_T2HW = np.concatenate([flow_B2HW.cpu().numpy() for flow_B2HW in self._batches(frames_THWC)])
        return resize_flow(flow_T2HW, *frames_THWC.shape[1:3])

    def _batches(self, frames_THWC: NDArray[np.uint8]) -> Iterator[Tensor]:
        last_feature_BCHW: Tensor | None = None  # of the frame that two batches share
        for start in range(0, len(frames_THWC) - 1, self._batch_size):
            image_BCHW = self._images(frames_THWC[start : start + self._batch_size + 1])
            height, width = image_BCHW.shape[2:]
            top, left = -height % MULTIPLE // 2, -width % MULTIPLE // 2
            sides = (left, -width % MULTIPLE - left, top, -height % MULTIPLE - top)
            padded_BCHW = F.pad(image_BCHW, sides, mode="replicate")
            new_BCHW = padded_BCHW if last_feature_BCHW is None else padded_BCHW[1:]
            feature_BCHW = self._encode(self._model.feature_encoder, new_BCHW)
            if last_feature_BCHW is not None:
                feature_BCHW = torch.cat([last_feature_BCHW, feature_BCHW])
            last_feature_BCHW = feature_BCHW[-1:]
            flow_B2HW = self._refine(feature_BCHW, self._encode(self._model.context_encoder, padded_BCHW[:-1]))
            yield flow_B2HW[:, :, top : top + height, left : left + width]

    def _images(self, frames_THWC: NDArray[np.uint8]) -> Tensor:
        """Return images (T, 3, H, W) float -1..1 with no side below 128 pixels."""
        frame_TCHW = torch.from_numpy(np.ascontiguousarray(frames_THWC)).to(self._device).permute(0, 3, 1, 2)
        image_TCHW = frame_TCHW.float().div(127.5).sub(1).expand(-1, 3, -1, -1).contiguous()
        height, width = image_TCHW.shape[2:]
        scale = SMALLEST / min(height, width)
        if scale <= 1:
            return image_TCHW
        size = round(height * scale), round(width * scale)
        return F.interpolate(image_TCHW, size, mode="bilinear", align_corners=False)

    def _encode(self, encoder: Any, image_BCHW: Tensor) -> Tensor:
        with self._autocast():
            encoded: Tensor = encoder(image_BCHW)
        return encoded.float()

    def _refine(self, feature_BCHW: Tensor, context_BCHW: Tensor) -> Tensor:
        """Return flow (B, 2, H, W) from features of B + 1 frames and the context of the first B; as RAFT.forward does."""
        model = self._model
        model.corr_block.build_pyramid(feature_BCHW[:-1], feature_BCHW[1:])
        hidden_size = model.update_block.hidden_state_size
        hidden_BCHW, context_BCHW = context_BCHW[:, :hidden_size].tanh(), context_BCHW[:, hidden_size:].relu()
        batch, _, rows, columns = hidden_BCHW.shape
        start_B2HW: Tensor = make_coords_grid(batch, rows, columns, str(self._device))
        place_B2HW = start_B2HW
        for _ in range(self._updates):
            correlation_BCHW = model.corr_block.index_pyramid(place_B2HW)
            with self._autocast():
                hidden_BCHW, step_B2HW = model.update_block(
                    hidden_BCHW, context_BCHW, correlation_BCHW, place_B2HW - start_B2HW
                )
            place_B2HW = place_B2HW + step_B2HW.float()
        up_BCHW = None
        if model.mask_predictor is not None:
            with self._autocast():
                up_BCHW = model.mask_predictor(hidden_BCHW).float()
        flow_B2HW: Tensor = upsample_flow(place_B2HW - start_B2HW, up_BCHW)
        return flow_B2HW

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._half is None:
            return nullcontext()
        return torch.autocast(self._device.type, self._half)


def open_raft(settings: FlowsSettings) -> RaftFlow:
    """Return RAFT with the weights that the settings name, on their device.

    Raises
    ------
    FileNotFoundError
        There are no weights.
    ConfigError
        The file holds no weights, or those of another model; or there is no such device.
    """
    device = pick_device(settings.device)
    model = load_raft(settings.estimator, require_weights(settings)).to(device)
    half = _half(settings.precision, device)
    return RaftFlow(model, updates=settings.updates, batch_size=settings.batch_size, half=half)


def _half(precision: str, device: torch.device) -> torch.dtype | None:
    if precision == "mixed" and device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if precision == "bf16" else None


def check_raft(settings: FlowsSettings) -> None:
    """Raise what :func:`open_raft` would, without using the device."""
    pick_device(settings.device)
    load_raft(settings.estimator, require_weights(settings))


def load_raft(name: str, path: Path) -> RAFT:
    """Return ``raft-small`` or ``raft-large`` in evaluation mode with the weights of a file; see :func:`open_raft`."""
    tensors = load_tensors(path)
    with torch.device("meta"):  # no weights are drawn at random only to be replaced
        model: RAFT = MODELS[name](weights=None)
    remedy = (
        "set flows.estimator to the model they are of, or import weights of RAFT's authors with `stpa import-weights raft`"
    )
    check_tensors(path, tensors, model.state_dict(), name=name, remedy=remedy)
    model.load_state_dict(tensors, assign=True)
    return model.eval().requires_grad_(False)

