"""Pseudo-anomalies: what may replace a normal clip at the autoencoder's input. The target is always the normal clip.

A new kind is one class and one line in a registry below.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import CLIP_FRAMES, ConfigError, TrainSettings
from trainer.clips import TrainingData

GROWTH = 0.03
"""How far the silhouette of a moving body grows at most, as a share of the height: a third of a small person's."""


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


class MovingBodies(Mixup):
    """Temporal: several bodies that move as one piece, too fast or astray, in place of walkers and over empty ground.

    A vehicle differs from a walker in three ways: it is faster, larger, and none of its parts moves against another. So a
    silhouette grows by up to 3 % of the height, and inside it stands (seven in ten) one vector per frame that hardly
    varies: the object's mean motion, 1.3 to 4 times as fast, or a quarter of the time any direction at 0.5 to 4 times its
    speed; or (three in ten) the object's own motion 1.3 to 4 times as fast. Half of the bodies stand where the clip's own
    object is, half are those of other clips at their own place, where the normal clip mostly shows ground. One to eight
    bodies share a clip: with a single one the network learns little, as it is a hundredth of the picture.
    """

    most = 8

    def __call__(self, data: TrainingData, start: int, random: np.random.Generator) -> Tensor | None:
        """Return 16 flow fields, float32, pixels per frame; None where neither this clip nor those drawn hold an object."""
        clip_THW2 = data.flow_NHW2[start : start + CLIP_FRAMES].float()
        changed = False
        for _ in range(int(random.integers(1, self.most + 1))):
            source = start if random.random() < 0.5 else int(random.choice(data.start_C))
            found = choose_object(data, data.origin_N[source : source + CLIP_FRAMES], random)
            if found is not None:
                own_THW2 = data.flow_NHW2[source : source + CLIP_FRAMES].float()
                moving_THW2 = self.other(data, own_THW2, found, random)
                grown = int(random.integers(0, max(1, round(GROWTH * data.size[0])) + 1))
                weight_KHW = soft_mask(found.mask_KHW, grown)[..., None]
                clip_THW2[found.frame_K] += weight_KHW * (moving_THW2 - clip_THW2)[found.frame_K]
                changed = True
        return clip_THW2 if changed else None

    def other(self, data: TrainingData, clip_THW2: Tensor, found: Silhouette, random: np.random.Generator) -> Tensor:
        """Return the motion of the body, (16, H, W, 2), made from that of its object in ``clip_THW2``."""
        kind, faster = random.random(), random.uniform(1.3, 4.0)
        if kind < 0.3:
            return clip_THW2 * faster
        mean_2 = clip_THW2[found.frame_K][found.mask_KHW].mean(0)
        vector_2 = mean_2 * faster
        if kind >= 0.75:
            angle, speed = random.uniform(0, 2 * np.pi), float(mean_2.norm()) * random.uniform(0.5, 4.0)
            vector_2 = speed * torch.tensor([np.cos(angle), np.sin(angle)]).to(mean_2)
        pace_T = torch.from_numpy(random.normal(1.0, 0.1, CLIP_FRAMES)).to(mean_2)
        return (pace_T[:, None] * vector_2)[:, None, None].expand_as(clip_THW2)


SPATIAL: Mapping[str, type[PseudoAnomaly]] = {
    "inpainting": Inpainting,
}
TEMPORAL: Mapping[str, type[PseudoAnomaly]] = {
    "mixup": Mixup,
    "mixup-in-place": MixupInPlace,
    "motion": ChangedMotion,
    "bodies": MovingBodies,
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


def soft_mask(mask_KHW: Tensor, grown: int) -> Tensor:
    """Return the mask grown by some pixels to every side, (K, H, W) float32 0..1, with an edge three pixels wide."""
    side = 2 * grown + 1
    weight_KHW = F.max_pool2d(mask_KHW.float()[:, None], side, stride=1, padding=grown)
    return F.avg_pool2d(weight_KHW, 3, stride=1, padding=1)[:, 0]


def _find(setting: str, registry: Mapping[str, type[PseudoAnomaly]], settings: TrainSettings) -> type[PseudoAnomaly]:
    name = getattr(settings, setting)
    if name not in registry:
        raise ConfigError(f"train.{setting}: expected one of {', '.join(registry)}, found {name!r}")
    return registry[name]
