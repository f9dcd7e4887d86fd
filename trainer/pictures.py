"""What an autoencoder makes of normal and of pseudo-anomalous clips, as one picture."""

from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import CLIP_FRAMES, TrainSettings
from pipeline.models.flow_colours import flow_colours
from pipeline.sheets import Picture, Row, as_rgb, sheet
from trainer.autoencoder import Autoencoder
from trainer.batches import Signal
from trainer.clips import TrainingData
from trainer.devices import autocast, usable_precision
from trainer.seeds import Seed

ROWS = 4
FRAME = CLIP_FRAMES // 2
FULL_ERROR = 1.0
"""Error, on the scale of -1 to 1, that has the brightest colour."""
FULL_FLOW = 0.5
"""Normalised flow of full colour: what is rarely reached by normal motion."""
TITLES = ("normal", "reconstruction", "error", "pseudo-anomaly", "reconstruction", "error to normal")


def reconstructions(network: Autoencoder, signal: Signal, data: TrainingData, settings: TrainSettings) -> Picture:
    """Draw the middle frame of a few clips, (H, W, 3) uint8 RGB; the network is in evaluation mode afterwards.

    Columns: the normal clip, what the network returns, how far that is off; then the same for its pseudo-anomaly, white
    where nothing in the clip can be changed.
    """
    start_R = data.start_C[np.linspace(0, len(data.start_C) - 1, min(ROWS, len(data.start_C))).astype(np.int64)]
    seed = Seed(settings.seed, ("reconstructions", signal.name))
    show = partial(_show, network.eval(), settings)
    rows = []
    for start in start_R.tolist():
        target_CTHW = signal.target(np.array([start]))[0]
        pseudo_CTHW = signal.pseudo(data, start, seed.generator("pseudo-anomalies", start))
        normal, blank = show(target_CTHW, target_CTHW), np.full((*target_CTHW.shape[2:], 3), 255, np.uint8)
        pseudo = [blank] * 3 if pseudo_CTHW is None else show(pseudo_CTHW, target_CTHW)
        rows.append(Row(caption=f"{signal.name}: frame {start + FRAME} of the training split", pictures=[*normal, *pseudo]))
    return sheet(TITLES, rows)


def as_png(picture_HWC: Picture) -> bytes:
    """Return the bytes of a PNG file."""
    return cv2.imencode(".png", picture_HWC[..., ::-1])[1].tobytes()


def _show(network: Autoencoder, settings: TrainSettings, shown_CTHW: Tensor, target_CTHW: Tensor) -> list[Picture]:
    precision = usable_precision(settings.precision, shown_CTHW.device)
    with torch.inference_mode(), autocast(precision, shown_CTHW.device):
        returned_CTHW = network(shown_CTHW[None])[0].float()
    error_HW = (returned_CTHW - target_CTHW)[:, FRAME].square().mean(0).sqrt().cpu().numpy()
    heat_HW = (255 * np.clip(error_HW / FULL_ERROR, 0, 1)).astype(np.uint8)
    heat_HWC = np.asarray(cv2.applyColorMap(heat_HW, cv2.COLORMAP_INFERNO)[..., ::-1], np.uint8)
    return [_picture(shown_CTHW[:, FRAME]), _picture(returned_CTHW[:, FRAME]), heat_HWC]


def _picture(values_CHW: Tensor) -> NDArray[np.uint8]:
    array_CHW = values_CHW.cpu().numpy()
    if len(array_CHW) == 2:
        return flow_colours(array_CHW, FULL_FLOW)
    return as_rgb(np.clip((array_CHW.transpose(1, 2, 0) + 1) * 127.5, 0, 255).round().astype(np.uint8))
