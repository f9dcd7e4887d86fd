"""Pseudo-anomalies of STEAL-Net and LNTRA, after their programs: what this method is compared with.

They need no mask and no inpainted picture. What the programs do with frames is done here with flow too, so that the two
autoencoders of a baseline learn from the same idea.

STEAL-Net: Astrid, Zaheer and Lee, *Synthetic Temporal Anomaly Guided End-to-End Video Anomaly Detection* (ICCVW 2021).
LNTRA: Astrid et al., *Learning Not to Reconstruct Anomalies* (BMVC 2021).
"""

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import CLIP_FRAMES, TrainSettings
from trainer.clips import TrainingData

if TYPE_CHECKING:
    from trainer.sequences import Pictures

STEPS = (2, 3, 4, 5)
"""Every how manieth frame a clip of skipped frames shows."""
SMALLEST_PATCH = 0.05  # of the frame's sides: a few pixels would be no patch
LARGEST_PATCH = 0.5
SOFT_BORDER = 0.1
WALK = 10 / 256
"""How far a patch walks at most from one frame to the next, as a share of the height: 10 pixels of 256."""


class SkippedFrames:
    """Spatial: every second to fifth frame, so that everything moves faster; from the first frame of the normal clip on."""

    needs_masks: ClassVar[bool] = False

    def __init__(self, settings: TrainSettings) -> None: ...

    def __call__(self, data: TrainingData, start: int, random: np.random.Generator) -> Tensor | None:
        """Return 16 frames, uint8; None where the video ends before 31 more frames."""
        step = choose_step(data, start, random)
        return None if step is None else data.frames_NHWC[start + step * np.arange(CLIP_FRAMES)]


class SkippedFlow:
    """Temporal: the motion between every second to fifth frame, as the sum of what passes each place meanwhile."""

    needs_masks: ClassVar[bool] = False

    def __init__(self, settings: TrainSettings) -> None: ...

    def __call__(self, data: TrainingData, start: int, random: np.random.Generator) -> Tensor | None:
        """Return 16 flow fields, float32, pixels from one shown frame to the next; None as :class:`SkippedFrames`."""
        step = choose_step(data, start, random)
        if step is None:
            return None
        flow_NHW2 = data.flow_NHW2[start : start + step * (CLIP_FRAMES - 1) + 1].float()
        # no frame before the first one need exist: what arrived in it is taken for all that would have been skipped
        parts_NHW2 = torch.cat([flow_NHW2[:1].expand(step, -1, -1, -1), flow_NHW2[1:]])
        return parts_NHW2.reshape(CLIP_FRAMES, step, *parts_NHW2.shape[1:]).sum(1)


class StealFrames(SkippedFrames):
    """Spatial: skipped frames that are to be reconstructed badly."""

    loss_sign: ClassVar[float] = -1.0


class StealFlow(SkippedFlow):
    """Temporal: the motion of skipped frames that is to be reconstructed badly."""

    loss_sign: ClassVar[float] = -1.0


class ForeignPatch:
    """Spatial: a rectangle of another frame that walks about in the clip, 5 to 50 % as wide and high, with a soft border.

    LNTRA takes it from pictures of another dataset, or of the same one; nothing but the training videos is needed here.
    """

    needs_masks: ClassVar[bool] = False

    def __init__(self, settings: TrainSettings) -> None: ...

    def pictures(self, data: TrainingData) -> "Pictures":
        """Return what clip and patch are taken from."""
        return data.frames_NHWC

    def __call__(self, data: TrainingData, start: int, random: np.random.Generator) -> Tensor | None:
        """Return 16 frames as they are stored, in floating point if those are."""
        pictures_NHWC = self.pictures(data)
        clip_THWC = pictures_NHWC[start : start + CLIP_FRAMES].float()
        foreign_HWC = pictures_NHWC[int(random.choice(data.start_C))].float()
        height, width = data.size
        size_2 = [max(2, round(side * random.uniform(SMALLEST_PATCH, LARGEST_PATCH))) for side in (height, width)]
        top, left = (int(random.integers(0, side - part + 1)) for side, part in zip(data.size, size_2, strict=True))
        patch_hwC = foreign_HWC[top : top + size_2[0], left : left + size_2[1]]
        weight_hw1 = soft_rectangle(*size_2).to(clip_THWC.device)[..., None]
        for frame, (y, x) in enumerate(walk(data.size, (size_2[0], size_2[1]), random)):
            clip_THWC[frame, y : y + size_2[0], x : x + size_2[1]].lerp_(patch_hwC, weight_hw1.expand_as(patch_hwC))
        return self.stored(clip_THWC)

    def stored(self, clip_THWC: Tensor) -> Tensor:
        """Return the clip in the unit and kind of number in which such clips are stored."""
        return clip_THWC.round_().to(torch.uint8)


class ForeignFlowPatch(ForeignPatch):
    """Temporal: the same with a rectangle of the motion of another moment, which stays what it was while it walks."""

    def pictures(self, data: TrainingData) -> "Pictures":
        """Return what clip and patch are taken from."""
        return data.flow_NHW2

    def stored(self, clip_THWC: Tensor) -> Tensor:
        """Return the clip as it is, float32, pixels per frame."""
        return clip_THWC


def choose_step(data: TrainingData, start: int, random: np.random.Generator) -> int | None:
    """Return how many frames to go at once, of those with which 16 frames fit into the video; None = it is too short."""
    last = last_frame(data.origin_N, start)
    fitting = [step for step in STEPS if start + step * (CLIP_FRAMES - 1) <= last]
    return int(random.choice(fitting)) if fitting else None


def last_frame(origin_N: NDArray[np.int64], start: int) -> int:
    """Return the last of the frames from ``start`` on that are of its video, as far as a clip can skip to."""
    reach = start + STEPS[-1] * (CLIP_FRAMES - 1) + 1
    frame_M = np.arange(start + 1, min(reach, len(origin_N)))
    first_M = frame_M[origin_N[frame_M] == frame_M]  # the first frame of a video has none before it
    return int(first_M[0]) - 1 if len(first_M) else int(min(reach, len(origin_N))) - 1


def soft_rectangle(height: int, width: int) -> Tensor:
    """Return weights (height, width), 1 within and falling to the border over a tenth of each side, float32."""
    sides = []
    for length in (height, width):
        to_border_L = np.minimum(np.arange(length), np.arange(length)[::-1]) + 1.0
        sides.append(np.minimum(1.0, to_border_L / (1.0 + SOFT_BORDER * length)))
    return torch.from_numpy(np.outer(*sides).astype(np.float32))


def walk(size: tuple[int, int], part: tuple[int, int], random: np.random.Generator) -> list[tuple[int, int]]:
    """Return row and column of a patch in each of 16 frames; it walks at random and stays inside the picture."""
    most_2 = np.subtract(size, part)
    place_2 = random.integers(0, most_2 + 1)
    pace = max(1, round(WALK * size[0]))
    places = []
    for _ in range(CLIP_FRAMES):
        places.append((int(place_2[0]), int(place_2[1])))
        place_2 = np.clip(place_2 + random.integers(-pace, pace + 1, 2), 0, most_2)
    return places
