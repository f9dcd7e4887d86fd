"""From stored pictures and flow to what the autoencoders see, the same way in training and in scoring."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import Array

FLOW_LIMIT = 1.5
"""Scaled flow is clipped here. Above 1, which Tanh cannot reach, fast motion keeps an error that no training can remove."""

PIECE = 64
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as cv2.cvtColor(..., COLOR_RGB2GRAY)


def to_channels(frames_THWC: Tensor, colour: Literal["grey", "rgb"]) -> Tensor:
    """Return uint8 frames with the channels that the spatial autoencoder sees: (T, H, W, 1) or (T, H, W, 3).

    Raises
    ------
    ValueError
        RGB was asked for, and the frames were stored in grey.
    """
    stored = frames_THWC.shape[-1]
    if colour == "rgb":
        if stored != 3:
            raise ValueError(f"train.colour = rgb needs 3 stored channels, found {stored}; set frames.colour = rgb")
        return frames_THWC
    if stored == 1:
        return frames_THWC
    weights_C = torch.tensor(LUMA, device=frames_THWC.device)
    # piece by piece: as floating point, a long video would take four times its memory
    grey = [(part.float() @ weights_C).round_().clamp_(0, 255).to(torch.uint8) for part in torch.split(frames_THWC, PIECE)]
    return torch.cat(grey).unsqueeze(-1)


def reduce_pictures(sequence_NHWC: Tensor, factor: int) -> Tensor:
    """Average over squares of ``factor`` pixels: (N, H / factor, W / factor, C) of the same dtype.

    uint8 is rounded. Flow keeps its unit, pixels per frame of the larger picture. bool is True where half of a square is.
    """
    if factor == 1:
        return sequence_NHWC
    dtype = sequence_NHWC.dtype
    reduced = F.avg_pool2d(sequence_NHWC.permute(0, 3, 1, 2).float(), factor).permute(0, 2, 3, 1)
    if dtype == torch.bool:
        return reduced >= 0.5
    return (reduced.round() if dtype == torch.uint8 else reduced).to(dtype)


def smooth_flow(flow_NHW2: Tensor, sigma: float) -> Tensor:
    """Average flow over a Gaussian of ``sigma`` times the height of the picture: (N, H, W, 2) of the same dtype."""
    if sigma <= 0:
        return flow_NHW2
    smooth = torch.empty_like(flow_NHW2)
    for part, into in zip(torch.split(flow_NHW2, PIECE), torch.split(smooth, PIECE), strict=True):
        planes = part.permute(0, 3, 1, 2).float()
        blurred = blur(planes.flatten(0, 1), sigma * planes.shape[2]).view(planes.shape)
        into.copy_(blurred.permute(0, 2, 3, 1))
    return smooth


def blur(map_Nhw: Tensor, sigma: float) -> Tensor:
    """Smooth with a Gaussian of ``sigma`` cells; the border repeats, so that a region at the rim keeps its weight."""
    if sigma <= 0:
        return map_Nhw
    radius = math.ceil(3 * sigma)
    offset = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offset / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(map_Nhw.device)  # made on the CPU, so that it is the same everywhere
    padded = F.pad(map_Nhw[:, None], (radius, radius, radius, radius), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))[:, 0]


def normalise_frames(frames_uint8: Tensor) -> Tensor:
    """Map uint8 0..255 to float32 -1..1 (``x / 127.5 - 1``, as STEAL-Net and LNTRA do)."""
    return (frames_uint8.float() / 127.5).sub_(1.0)


def normalise_flow(flow_pixels: Tensor, flow_scale: float) -> Tensor:
    """Map pixels per frame to float32: ``flow_scale`` becomes 1; clipped to +-:data:`FLOW_LIMIT`."""
    return (flow_pixels.float() / flow_scale).clamp_(-FLOW_LIMIT, FLOW_LIMIT)


def arriving_flow(flow_T2HW: Array | Tensor) -> Tensor:
    """Align flow with frames: element t is the motion that arrived in frame t.

    Takes (T-1, 2, H, W) pixels per frame, ``flow[i]`` from frame i to i+1, and returns (T, H, W, 2) of the same dtype:
    element t is ``flow[t-1]``, element 0 repeats ``flow[0]``. So a frame is never scored by motion that comes after it.
    """
    flow = torch.as_tensor(flow_T2HW).permute(0, 2, 3, 1)
    return torch.cat([flow[:1], flow])
