"""Pseudo-anomalies: what may replace a normal clip at the autoencoder's input. The target is always the normal clip.

A new kind is one class and one line in a registry below.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import CLIP_FRAMES, ConfigError, TrainSettings
from trainer.clips import TrainingData


class PseudoAnomaly(Protocol):
    """Makes the pseudo-anomaly of one clip from stored artifacts."""

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

    def other(
        self, data: TrainingData, clip_THW2: Tensor, found: Silhouette, random: np.random.Generator
    ) -> Tensor:
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

    def other(
        self, data: TrainingData, clip_THW2: Tensor, found: Silhouette, random: np.random.Generator
    ) -> Tensor:
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


SPATIAL: Mapping[str, type[PseudoAnomaly]] = {
    "inpainting": Inpainting,
}
TEMPORAL: Mapping[str, type[PseudoAnomaly]] = {
    "mixup": Mixup,
    "mixup-in-place": MixupInPlace,
    "motion": ChangedMotion,
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


def _find(setting: str, registry: Mapping[str, type[PseudoAnomaly]], settings: TrainSettings) -> type[PseudoAnomaly]:
    name = getattr(settings, setting)
    if name not in registry:
        raise ConfigError(f"train.{setting}: expected one of {', '.join(registry)}, found {name!r}")
    return registry[name]
