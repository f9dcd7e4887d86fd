"""What a network makes of normal and of pseudo-anomalous clips, as one picture."""

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import CLIP_FRAMES, TrainSettings
from pipeline.models.flow_colours import flow_colours
from pipeline.sheets import Picture, Row, as_rgb, sheet
from trainer.autoencoder import Trunk
from trainer.batches import Signal
from trainer.clips import TrainingData
from trainer.devices import autocast, usable_precision
from trainer.marks import MotionSignal
from trainer.seeds import Seed

ROWS = 4
FRAME = CLIP_FRAMES // 2
FULL_ERROR = 1.0
"""Error, on the scale of -1 to 1, that has the brightest colour."""
FULL_FLOW = 0.5
"""Normalised flow of full colour: what is rarely reached by normal motion."""
TITLES = ("normal", "reconstruction", "error", "pseudo-anomaly", "reconstruction", "error to normal")
TITLES_OF_MARKS = ("normal", "marked", "unusual motion", "where it is", "marked")


def draw_learnt(network: Trunk, signal: Signal, data: TrainingData, settings: TrainSettings) -> Picture:
    """Draw what a network has learnt, as RGB: reconstructions of an autoencoder, marks of the motion network."""
    draw = marks if isinstance(signal, MotionSignal) else reconstructions
    return draw(network, signal, data, settings)


def reconstructions(network: Trunk, signal: Signal, data: TrainingData, settings: TrainSettings) -> Picture:
    """Draw the middle frame of a few clips, (H, W, 3) uint8 RGB; the network is in evaluation mode afterwards.

    Columns: the normal clip, what the network returns, how far that is off; then the same for its pseudo-anomaly, white
    where nothing in the clip can be changed.
    """
    start_R = _shown_clips(data)
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


def marks(network: Trunk, signal: Signal, data: TrainingData, settings: TrainSettings) -> Picture:
    """Draw the middle frame of a few clips, (H, W, 3) uint8 RGB; the network is in evaluation mode afterwards.

    Columns: normal flow, how surely the network marks it; flow with unusual motion in it, where that is, and the marks.
    """
    seed = Seed(settings.seed, ("marks", signal.name))
    precision = usable_precision(settings.precision, signal.device)
    network.eval()
    rows = []
    for start in _shown_clips(data).tolist():
        made = replace(signal, probability=1.0).batch(data, np.array([start]), seed.generator("unusual motion", start))
        clips_2CTHW = torch.cat([signal.target(np.array([start])), made.shown_BCTHW])
        with torch.inference_mode(), autocast(precision, signal.device):
            marked_2hw = network(clips_2CTHW)[:, FRAME].float().sigmoid()
        normal, unusual = (_picture(clip_CTHW[:, FRAME]) for clip_CTHW in clips_2CTHW)
        shown = [_heat(mark_hw, normal) for mark_hw in (marked_2hw[0], made.target_BCTHW[0, 0, FRAME], marked_2hw[1])]
        caption = f"{signal.name}: frame {start + FRAME} of the training split"
        rows.append(Row(caption=caption, pictures=[normal, shown[0], unusual, *shown[1:]]))
    return sheet(TITLES_OF_MARKS, rows)


def _shown_clips(data: TrainingData) -> NDArray[np.int64]:
    clips = np.linspace(0, len(data.start_C) - 1, min(ROWS, len(data.start_C)))
    return np.asarray(data.start_C[clips.astype(np.int64)])


def _heat(share_hw: Tensor, like_HWC: Picture) -> Picture:
    """Return 0..1 as colours, as large as another picture."""
    heat_hw = (255 * share_hw.clamp(0, 1)).byte().cpu().numpy()
    height, width = like_HWC.shape[:2]
    heat_HW = cv2.resize(heat_hw, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.applyColorMap(heat_HW, cv2.COLORMAP_INFERNO)[..., ::-1], np.uint8)


def as_png(picture_HWC: Picture) -> bytes:
    """Return the bytes of a PNG file."""
    return cv2.imencode(".png", picture_HWC[..., ::-1])[1].tobytes()


def _show(network: Trunk, settings: TrainSettings, shown_CTHW: Tensor, target_CTHW: Tensor) -> list[Picture]:
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
