"""What the motion network learns from: flow, some of it made unusual, and marks where it was."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import CLIP_FRAMES, TrainSettings
from trainer.batches import Batch, Signal
from trainer.clips import TrainingData
from trainer.segmenter import CELL, MotionSegmenter, make_segmenter
from trainer.unusual_motion import UnusualMotion

COVERED = 0.4
"""Share of a cell from which on it is marked."""


@dataclass(frozen=True, kw_only=True)
class MarkedBatch(Batch):
    """Clips, and what is to be said of them: ``target_BCTHW`` holds marks, (B, 1, 16, H / 4, W / 4) float32, 0 or 1."""

    def loss(self, logit_BThw: Tensor) -> Tensor:
        """Return the mean binary cross-entropy."""
        return F.binary_cross_entropy_with_logits(logit_BThw, self.target_BCTHW[:, 0])


@dataclass(frozen=True, kw_only=True)
class MotionSignal(Signal):
    """Normal flow, most of it with bodies in it of which some move as nothing does here."""

    pseudo_anomaly: UnusualMotion
    selects: ClassVar[bool] = False

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return "motion network"

    def make_network(self, settings: TrainSettings) -> MotionSegmenter:
        """Return the network before it has learnt anything."""
        return make_segmenter(
            width=settings.width,
            place=settings.place,
            skips=settings.skips,
            seed=self.seed(settings).number("weights"),
            device=self.device,
        )

    def batch(self, data: TrainingData, start_B: NDArray[np.int64], random: np.random.Generator) -> MarkedBatch:
        """Return the clips of one step and their marks."""
        clips, marks = [], []
        for start in start_B:
            if random.random() < self.probability:
                clip_THW2, mark_THW = self.pseudo_anomaly.marked(data, int(start), random)
                mark_Thw = cells(mark_THW.to(self.device))
            else:
                clip_THW2 = self.pseudo_anomaly.normal(data, int(start), random)
                mark_Thw = torch.zeros((CLIP_FRAMES, *(side // CELL for side in data.size)), device=self.device)
            clips.append(self.normalise(clip_THW2.to(self.device)))
            marks.append(mark_Thw)
        return MarkedBatch(
            shown_BCTHW=torch.stack(clips).permute(0, 4, 1, 2, 3),  # in memory the channels stay last
            target_BCTHW=torch.stack(marks)[:, None],
            sign_B=torch.ones(len(start_B)),
        )

    def changed_frames(self, data: TrainingData, start: int, random: np.random.Generator) -> NDArray[np.bool_]:
        """Return which frames of the pseudo-anomaly hold something that is to be marked, (16,)."""
        _, mark_THW = self.pseudo_anomaly.marked(data, start, random)
        return np.asarray(cells(mark_THW).flatten(1).any(1).cpu().numpy())


def cells(mark_THW: Tensor) -> Tensor:
    """Return 1 for each cell of 4 x 4 pixels of which enough is marked, else 0: (T, H / 4, W / 4) float32."""
    return (F.avg_pool2d(mark_THW[:, None].float(), CELL)[:, 0] >= COVERED).float()
