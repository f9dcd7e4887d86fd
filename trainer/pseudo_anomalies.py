"""Pseudo-anomalies: what may replace a normal clip at the autoencoder's input. The target is always the normal clip.

A new kind is one class and one line in a registry below.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import CLIP_FRAMES, ConfigError, TrainSettings
from trainer.clips import TrainingData
from trainer.published_anomalies import (
    ForeignFlowPatch,
    ForeignPatch,
    SkippedFlow,
    SkippedFrames,
    StealFlow,
    StealFrames,
)

GROWTH = 0.03
"""How far the silhouette of a moving body grows at most, as a share of the height: a third of a small person's."""


class PseudoAnomaly(Protocol):
    """Makes the pseudo-anomaly of one clip from stored artifacts, or from nothing but the clip and its neighbours.

    A class may have ``loss_sign`` (1 unless it says otherwise): what the error of its clips weighs in the loss. 1 = the
    normal clip is to be returned; -1 = the pseudo-anomaly is shown and must *not* be returned, as in STEAL-Net.
    A class that works without masks says so by ``needs_masks = False``.
    """

    def __init__(self, settings: TrainSettings) -> None: ...

    def __call__(self, data: TrainingData, start: int, random: np.random.Generator) -> Tensor | None:
        """Return what replaces the clip that starts at ``start``: (16, H, W, C) in stored units, or None.

        None = the clip holds no object, and stays normal. ``data`` must not be changed.
        """


@dataclass(frozen=True)
class Silhouette:
    """One object of one clip: at most one is changed, as in the paper's examples."""

    frame_K: NDArray[np.int64]
    """Which of the 16 elements show it."""
    mask_KHW: Tensor
    centre_2: NDArray[np.float64]
    """Mean row and column over these frames, pixels."""


class Inpainting:
    """Spatial: the frames of one object come from the inpaint stage, where a latent diffusion model repainted it."""

    def __init__(self, settings: TrainSettings) -> None: ...

    def __call__(self, data: TrainingData, start: int, random: np.random.Generator) -> Tensor | None:
        """Return 16 frames, uint8."""
        frame_T = np.arange(start, start + CLIP_FRAMES)
        found = choose_object(data, frame_T, random)
        if found is None:
            return None
        clip_THWC = data.frames_NHWC[start : start + CLIP_FRAMES].clone()
        clip_THWC[found.frame_K] = data.image_NHWC[frame_T[found.frame_K]]
        return clip_THWC


class Mixup:
    """Temporal, after the paper: inside the silhouette ``lam * own + (1 - lam) * other``, lam ~ Beta(alpha, alpha).

    ``other`` is the flow of another object, moved onto this one, so that motion meets motion.
    """

    moved = True

    def __init__(self, settings: TrainSettings) -> None:
        self._alpha = settings.mixup_alpha

    def __call__(self, data: TrainingData, start: int, random: np.random.Generator) -> Tensor | None:
        """Return 16 flow fields, float32, pixels per frame."""
        found = choose_object(data, data.origin_N[start : start + CLIP_FRAMES], random)
        if found is None:
            return None
        clip_THW2 = data.flow_NHW2[start : start + CLIP_FRAMES].float()
        other_THW2 = self.other(data, clip_THW2, found, random)
        return mix(clip_THW2, other_THW2, found, self.lam(random))

    def lam(self, random: np.random.Generator) -> float:
        """Return how much of the clip's own flow stays, 0..1."""
        return random.beta(self._alpha, self._alpha)

    def other(self, data: TrainingData, clip_THW2: Tensor, found: Silhouette, random: np.random.Generator) -> Tensor:
        """Return the flow that is mixed in, (16, H, W, 2)."""
        start = int(random.choice(data.start_C))
        other_THW2 = data.flow_NHW2[start : start + CLIP_FRAMES].float()
        partner = choose_object(data, data.origin_N[start : start + CLIP_FRAMES], random) if self.moved else None
        if partner is None:
            return other_THW2
        rows, columns = np.round(found.centre_2 - partner.centre_2).astype(int)
        return other_THW2.roll((int(rows), int(columns)), dims=(1, 2))


class MixupInPlace(Mixup):
    """Temporal: mixup with the flow of another clip at the same place, which mostly is that of the background."""

    moved = False


class ChangedMotion(Mixup):
    """Temporal: motion of unusual speed or direction instead of the object's own.

    Six in ten: the object's own motion, 1.3 to 4 times as fast. Two: one rigid motion, 1 to 4 times as fast as its mean.
    Two: its own motion turned by 30 to 330 degrees and scaled by 0 (it stops) to 3.
    """

    def lam(self, random: np.random.Generator) -> float:
        """Keep nothing: lam near 1, which Beta(0.4, 0.4) often draws, would call normal motion abnormal."""
        return 0.0

    def other(self, data: TrainingData, clip_THW2: Tensor, found: Silhouette, random: np.random.Generator) -> Tensor:
        """Return the changed flow, (16, H, W, 2); only what lies inside the silhouette is used."""
        kind = random.random()
        if kind < 0.6:
            return clip_THW2 * random.uniform(1.3, 4.0)
        if kind < 0.8:
            mean_2 = clip_THW2[found.frame_K][found.mask_KHW].mean(0)
            return (mean_2 * random.uniform(1.0, 4.0)).expand_as(clip_THW2)
        angle, speed = random.uniform(np.pi / 6, 11 * np.pi / 6), random.uniform(0.0, 3.0)
        turn_22 = speed * torch.tensor([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return clip_THW2 @ turn_22.to(clip_THW2)


class MovingBodies:
    """Temporal: several bodies that move as no walker does, in place of walkers and over empty ground.

    A vehicle is faster and larger than a walker, and none of its parts moves against another; others go the wrong way. So a
    silhouette grows by up to 3 % of the height, and inside it stands one of four motions, see :meth:`body`. Half of the
    bodies stand where the clip's own object is, half are those of other clips at their own place, where the normal clip
    mostly shows ground. One to eight share a clip: with a single one the network learns little, as it is a hundredth of
    the picture.
    """

    most = 8

    def __init__(self, settings: TrainSettings) -> None: ...

    def __call__(self, data: TrainingData, start: int, random: np.random.Generator) -> Tensor | None:
        """Return 16 flow fields, float32, pixels per frame; None where neither this clip nor those drawn hold an object."""
        clip_THW2 = data.flow_NHW2[start : start + CLIP_FRAMES].float()
        changed = False
        for _ in range(int(random.integers(1, self.most + 1))):
            source = start if random.random() < 0.5 else int(random.choice(data.start_C))
            found = choose_object(data, data.origin_N[source : source + CLIP_FRAMES], random)
            if found is not None:
                self._place(clip_THW2, data.flow_NHW2[source : source + CLIP_FRAMES], found, random)
                changed = True
        return clip_THW2 if changed else None

    def _place(self, clip_THW2: Tensor, own_THW2: Tensor, found: Silhouette, random: np.random.Generator) -> None:
        grown = int(random.integers(0, max(1, round(GROWTH * clip_THW2.shape[1])) + 1))
        rows, columns = bounding_box(found.mask_KHW.any(0), grown + 2)
        mask_Khw = found.mask_KHW[:, rows, columns]
        body_Khw2 = self.body(own_THW2[found.frame_K][:, rows, columns].float(), mask_Khw, random)
        weight_Khw = soft_mask(mask_Khw, grown)[..., None]
        for frame, body_hw2, weight_hw in zip(found.frame_K, body_Khw2, weight_Khw, strict=True):
            clip_THW2[frame, rows, columns].lerp_(body_hw2, weight_hw.expand_as(body_hw2))

    def body(self, own_Khw2: Tensor, mask_Khw: Tensor, random: np.random.Generator) -> Tensor:
        """Return the motion of a body made from that of an object, (K, h, w, 2), pixels per frame.

        Three in ten each: its own motion, 1.3 to 4 times as fast; one vector per frame that hardly varies, its mean 1.3 to
        4 times as fast. Two in ten each: its own motion turned by 60 to 300 degrees, 0.7 to 1.5 times as fast; one vector
        in any direction, 0.5 to 4 times as fast as its mean.
        """
        kind, faster = random.random(), random.uniform(1.3, 4.0)
        if kind < 0.3:
            return own_Khw2 * faster
        if kind < 0.5:
            turn_22 = random.uniform(0.7, 1.5) * rotation(random.uniform(np.pi / 3, 5 * np.pi / 3))
            return own_Khw2 @ turn_22.to(own_Khw2)
        vector_2 = own_Khw2[mask_Khw].mean(0) * faster
        if kind >= 0.8:
            speed = float(vector_2.norm()) / faster * random.uniform(0.5, 4.0)
            vector_2 = speed * rotation(random.uniform(0, 2 * np.pi)).to(own_Khw2)[0]
        pace_K = torch.from_numpy(random.normal(1.0, 0.1, len(own_Khw2))).to(own_Khw2)
        return (pace_K[:, None] * vector_2)[:, None, None].expand_as(own_Khw2)


class ForeignObjects:
    """Spatial: several things that do not belong here: painted by the diffusion model, or people turned over.

    Each is the silhouette of one frame, filled with what the inpaint stage painted there or (half of them) with the person
    itself turned by 60 to 300 degrees; 0.7 to 1.6 times as large; and lies where it was cut out or nearby. Most stay where
    they are for the whole clip, as what is left behind or has fallen does; the others move along stiffly. One to four
    share a clip.
    """

    most = 4

    def __init__(self, settings: TrainSettings) -> None: ...

    def __call__(self, data: TrainingData, start: int, random: np.random.Generator) -> Tensor | None:
        """Return 16 frames, uint8; None where none of the clips drawn holds an object."""
        clip_THWC = data.frames_NHWC[start : start + CLIP_FRAMES].cpu().numpy().copy()
        changed = False
        for _ in range(int(random.integers(1, self.most + 1))):
            source = start if random.random() < 0.5 else int(random.choice(data.start_C))
            found = choose_object(data, np.arange(source, source + CLIP_FRAMES), random)
            if found is not None:
                self._place(clip_THWC, data, source, found, random)
                changed = True
        return torch.from_numpy(clip_THWC).to(data.frames_NHWC.device) if changed else None

    def _place(
        self,
        clip_THWC: NDArray[np.uint8],
        data: TrainingData,
        source: int,
        found: Silhouette,
        random: np.random.Generator,
    ) -> None:
        chosen = int(random.integers(len(found.frame_K)))
        painted = random.random() < 0.5
        pictures_NHWC = data.image_NHWC if painted else data.frames_NHWC
        thing_hwC, cover_hw = cut_out(
            pictures_NHWC[source + int(found.frame_K[chosen])].cpu().numpy(),
            found.mask_KHW[chosen].cpu().numpy(),
            angle=0.0 if painted else random.uniform(60, 300),
            scale=random.uniform(0.7, 1.6),
        )
        centre_K2 = np.argwhere(found.mask_KHW[chosen].cpu().numpy()).mean(0) + random.normal(0, 0.04 * data.size[0], 2)
        drift_2 = np.zeros(2) if random.random() < 0.7 else random.normal(0, 0.008 * data.size[0], 2)
        for frame in range(CLIP_FRAMES):
            blend(clip_THWC[frame], thing_hwC, cover_hw, centre_K2 + (frame - CLIP_FRAMES / 2) * drift_2)


SPATIAL: Mapping[str, type[PseudoAnomaly]] = {
    "inpainting": Inpainting,
    "objects": ForeignObjects,
    "skip": SkippedFrames,
    "steal": StealFrames,
    "patch": ForeignPatch,
}
TEMPORAL: Mapping[str, type[PseudoAnomaly]] = {
    "mixup": Mixup,
    "mixup-in-place": MixupInPlace,
    "motion": ChangedMotion,
    "bodies": MovingBodies,
    "skip": SkippedFlow,
    "steal": StealFlow,
    "patch": ForeignFlowPatch,
}


def make_pseudo_anomalies(settings: TrainSettings) -> tuple[PseudoAnomaly, PseudoAnomaly]:
    """Return the spatial and the temporal pseudo-anomaly of the settings; unknown names raise ConfigError."""
    return _find("spatial_pa", SPATIAL, settings)(settings), _find("temporal_pa", TEMPORAL, settings)(settings)


def choose_object(data: TrainingData, frame_T: NDArray[np.int64], random: np.random.Generator) -> Silhouette | None:
    """Return one object of the 16 frames whose masks are asked for; those seen longer are likelier. None = none."""
    object_T = data.object_N[frame_T]
    visible = (object_T >= 0) & np.isfinite(data.centre_N2[frame_T, 0])
    if not visible.any():
        return None
    taken = random.choice(object_T[visible])
    frame_K = np.flatnonzero(visible & (object_T == taken))
    return Silhouette(
        frame_K=frame_K,
        mask_KHW=data.mask_NHW[torch.from_numpy(frame_T[frame_K]).to(data.mask_NHW.device)],
        centre_2=data.centre_N2[frame_T[frame_K]].mean(0),
    )


def mix(clip_THW2: Tensor, other_THW2: Tensor, found: Silhouette, lam: float) -> Tensor:
    """Return ``lam * clip + (1 - lam) * other`` inside the silhouette, and the clip itself outside."""
    mixed_THW2 = clip_THW2.clone()
    blend = lam * clip_THW2[found.frame_K] + (1 - lam) * other_THW2[found.frame_K]
    mixed_THW2[found.frame_K] = torch.where(found.mask_KHW[..., None], blend, clip_THW2[found.frame_K])
    return mixed_THW2


def rotation(angle: float) -> Tensor:
    """Return the matrix (2, 2) float32 that turns row vectors (x to the right, y downwards) clockwise by radians."""
    return torch.tensor([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], dtype=torch.float32)


def bounding_box(mask_HW: Tensor, margin: int) -> tuple[slice, slice]:
    """Return the rows and columns of a mask that is not empty, with a margin as far as the picture reaches."""
    pixel_N2 = mask_HW.nonzero()
    first_2, last_2 = pixel_N2.amin(0).tolist(), pixel_N2.amax(0).tolist()
    rows, columns = (slice(max(0, a - margin), b + margin + 1) for a, b in zip(first_2, last_2, strict=True))
    return rows, columns


def cut_out(
    picture_HWC: NDArray[np.uint8], mask_HW: NDArray[np.bool_], *, angle: float, scale: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what a mask covers, turned by degrees and scaled: pixels (h, w, C) 0..255 and coverage (h, w) 0..1."""
    row_N, column_N = np.nonzero(mask_HW)
    top, left = row_N.min(), column_N.min()
    height, width = int(np.ptp(row_N)) + 1, int(np.ptp(column_N)) + 1
    side = int(np.ceil(np.hypot(height, width) * scale)) + 2
    matrix_23 = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale)
    to_middle = np.eye(2, 3)
    to_middle[:, 2] = (side - width) / 2, (side - height) / 2
    matrix_23 = matrix_23 + to_middle - np.eye(2, 3)
    part = slice(top, top + height), slice(left, left + width)
    thing = cv2.warpAffine(picture_HWC[part].astype(np.float32), matrix_23, (side, side), borderMode=cv2.BORDER_REPLICATE)
    cover_hw = cv2.warpAffine(mask_HW[part].astype(np.float32), matrix_23, (side, side))
    return np.asarray(thing, np.float32).reshape(side, side, -1), np.asarray(cover_hw, np.float32)


def blend(
    picture_HWC: NDArray[np.uint8],
    thing_hwC: NDArray[np.float32],
    cover_hw: NDArray[np.float32],
    centre_2: NDArray[np.float64],
) -> None:
    """Put a thing into a picture, its middle at a row and column; what lies outside the picture is cut off."""
    height, width = picture_HWC.shape[:2]
    top, left = (round(float(c) - side / 2) for c, side in zip(centre_2, cover_hw.shape, strict=True))
    rows = slice(max(0, -top), max(0, min(cover_hw.shape[0], height - top)))
    columns = slice(max(0, -left), max(0, min(cover_hw.shape[1], width - left)))
    target = picture_HWC[max(0, top) : max(0, top + rows.stop), max(0, left) : max(0, left + columns.stop)]
    if target.size:
        weight = cover_hw[rows, columns, None]
        target[:] = (weight * thing_hwC[rows, columns] + (1 - weight) * target).round().astype(np.uint8)


def soft_mask(mask_KHW: Tensor, grown: int) -> Tensor:
    """Return the mask grown by some pixels to every side, (K, H, W) float32 0..1, with an edge three pixels wide."""
    side = 2 * grown + 1
    taller_K1HW = F.max_pool2d(mask_KHW.float()[:, None], (side, 1), stride=1, padding=(grown, 0))
    weight_K1HW = F.max_pool2d(taller_K1HW, (1, side), stride=1, padding=(0, grown))
    return F.avg_pool2d(weight_K1HW, 3, stride=1, padding=1)[:, 0]


def _find(setting: str, registry: Mapping[str, type[PseudoAnomaly]], settings: TrainSettings) -> type[PseudoAnomaly]:
    name = getattr(settings, setting)
    if name not in registry:
        raise ConfigError(f"train.{setting}: expected one of {', '.join(registry)}, found {name!r}")
    return registry[name]
