"""What the motion network is shown: bodies that move as nothing does here, among others that do, and where they are.

Without the others it would learn how a body looks that was put in by us, and by heart which motion there is in the training
video; either would tell it all that it is asked, and nothing about new video. So

* half of all clips are two moments at once: of each place the faster motion of both. Nobody has seen that crowd before;
* of the bodies that are put in, some move as they did where they were cut out, and are not to be marked;
* some clips, with bodies or without, begin with a picture that stands still, as the first windows of a video do
  (:func:`trainer.indicators.video_windows`): legs do not swing there, and nothing is stiff for that.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.config import CLIP_FRAMES, TrainSettings
from trainer.clips import TrainingData
from trainer.pseudo_anomalies import GROWTH, Silhouette, bounding_box, choose_object, rotation, soft_mask

UNUSUAL = 0.8
"""Share of clips that have bodies put in."""
TWO_MOMENTS = 0.5  # share of clips that show two moments at once
NORMAL_BODY = 0.35  # share of bodies that are put in and are not to be marked
PACE = (0.9, 1.1)
"""How much slower or faster these may be than they were."""
MOST_BODIES = 8
ELSEWHERE = 0.7
"""Share of bodies that were cut out of another clip, and are put in where they were there."""
STILL = 0.2  # share of clips whose first 1 to 15 fields are all the one that follows them
WIDER = (1.2, 2.2)  # half of the bodies that are to be marked: carts and bicycles are wider than who walks
CHANGED = 0.02  # of the flow's scale; less than that nobody can see


class UnusualMotion:
    """Makes clips of flow in which some bodies move unusually, and marks these."""

    def __init__(self, settings: TrainSettings) -> None: ...

    def __call__(self, data: TrainingData, start: int, random: np.random.Generator) -> Tensor:
        """Return 16 flow fields, (16, H, W, 2) float32 pixels per frame, made of the clip that starts at ``start``."""
        return self.marked(data, start, random)[0]

    def marked(self, data: TrainingData, start: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return the clip and where in it motion is unusual, (16, H, W) bool."""
        clip_THW2 = _crowd(data, start, random)
        mark_THW = torch.zeros(clip_THW2.shape[:3], dtype=torch.bool, device=clip_THW2.device)
        for _ in range(int(random.integers(1, MOST_BODIES + 1))):
            source = int(random.choice(data.start_C)) if random.random() < ELSEWHERE else start
            found = choose_object(data, data.origin_N[source : source + CLIP_FRAMES], random)
            if found is not None:
                own_THW2 = data.flow_NHW2[source : source + CLIP_FRAMES]
                _put_in(clip_THW2, mark_THW, own_THW2, found, data.flow_scale, random)
        _begin_still(random, clip_THW2, mark_THW)
        return clip_THW2, mark_THW

    def normal(self, data: TrainingData, start: int, random: np.random.Generator) -> Tensor:
        """Return a clip in which nothing is to be marked, (16, H, W, 2) float32 pixels per frame."""
        clip_THW2 = _crowd(data, start, random)
        _begin_still(random, clip_THW2)
        return clip_THW2


def _crowd(data: TrainingData, start: int, random: np.random.Generator) -> Tensor:
    """Return the flow of a clip, or the faster flow of two, (16, H, W, 2) float32."""
    clip_THW2 = data.flow_NHW2[start : start + CLIP_FRAMES].float()
    if random.random() >= TWO_MOMENTS:
        return clip_THW2
    other = int(random.choice(data.start_C))
    other_THW2 = data.flow_NHW2[other : other + CLIP_FRAMES].float()
    faster_THW = _square(other_THW2) > _square(clip_THW2)
    return torch.where(faster_THW[..., None], other_THW2, clip_THW2)


def _begin_still(random: np.random.Generator, *sequences: Tensor) -> None:
    """Let the first frames of some clips be all as the frame that follows them is, in place."""
    if random.random() < STILL:
        moving = int(random.integers(1, CLIP_FRAMES))
        for rows_T in sequences:
            rows_T[:moving] = rows_T[moving].clone()


def _square(flow_THW2: Tensor) -> Tensor:
    """Return the squared length of each vector; torch's own sum over two elements takes several times as long."""
    return flow_THW2[..., 0].square() + flow_THW2[..., 1].square()


def _put_in(
    clip_THW2: Tensor,
    mark_THW: Tensor,
    own_THW2: Tensor,
    found: Silhouette,
    flow_scale: float,
    random: np.random.Generator,
) -> None:
    """Put a body in the place of what moves there, and mark where that changes motion; or, if normal, take marks away.

    Where a slow, stiff body moves as what was there did, it is not marked: to call that unusual would make walkers unusual.
    """
    normal = random.random() < NORMAL_BODY
    grown = int(random.integers(0, max(1, round(GROWTH * clip_THW2.shape[1])) + 1))
    rows, columns = bounding_box(found.mask_KHW.any(0), grown + 2)
    mask_Khw, own_Khw2 = found.mask_KHW[:, rows, columns], own_THW2[found.frame_K][:, rows, columns].float()
    if not normal and random.random() < 0.5:
        mask_Khw, own_Khw2, columns = _wider(mask_Khw, own_Khw2, columns, clip_THW2.shape[2], random)
    body_Khw2 = own_Khw2 * random.uniform(*PACE) if normal else unusual(own_Khw2, mask_Khw, random)
    weight_Khw = soft_mask(mask_Khw, grown)[..., None]
    there = (torch.from_numpy(found.frame_K).to(clip_THW2.device), rows, columns)
    before_Khw2 = clip_THW2[there]
    after_Khw2 = before_Khw2.lerp(body_Khw2, weight_Khw.expand_as(body_Khw2))
    changed_Khw = (after_Khw2 - before_Khw2).abs().amax(-1) > CHANGED * flow_scale
    clip_THW2[there] = after_Khw2
    mark_THW[there] = torch.where(changed_Khw, not normal, mark_THW[there])


def _wider(
    mask_Khw: Tensor, own_Khw2: Tensor, columns: slice, width: int, random: np.random.Generator
) -> tuple[Tensor, Tensor, slice]:
    """Return a body 1.2 to 2.2 times as wide, with its columns of the picture."""
    narrow = mask_Khw.shape[2]
    wide = min(width, round(narrow * random.uniform(*WIDER)))
    size = (mask_Khw.shape[1], wide)
    left = int(np.clip(columns.start - (wide - narrow) // 2, 0, width - wide))
    wide_mask = F.interpolate(mask_Khw[:, None].float(), size, mode="nearest")[:, 0] > 0
    wide_flow = F.interpolate(own_Khw2.permute(0, 3, 1, 2), size, mode="nearest").permute(0, 2, 3, 1)
    return wide_mask, wide_flow, slice(left, left + wide)


def unusual(own_Khw2: Tensor, mask_Khw: Tensor, random: np.random.Generator) -> Tensor:
    """Return the motion of a body made from that of an object, (K, h, w, 2), pixels per frame.

    Two in ten: its own motion, 1.3 to 4 times as fast. One: its own motion turned by 60 to 300 degrees. The others are
    stiff, as what rolls is: two 1.3 to 4 times as fast as the object's mean; four 1 to 1.7 times, as slow as who walks; one
    in any direction, 0.5 to 4 times.
    """
    kind, faster = random.random(), random.uniform(1.3, 4.0)
    if kind < 0.2:
        return own_Khw2 * faster
    if kind < 0.3:
        turn_22 = random.uniform(0.7, 1.5) * rotation(random.uniform(np.pi / 3, 5 * np.pi / 3))
        return own_Khw2 @ turn_22.to(own_Khw2)
    mean_2 = own_Khw2[mask_Khw].mean(0)
    if kind < 0.5:
        return stiff(mean_2 * faster, mask_Khw, random)
    if kind < 0.9:
        return stiff(mean_2 * random.uniform(1.0, 1.7), mask_Khw, random)
    speed = float(mean_2.norm()) * random.uniform(0.5, 4.0)
    return stiff(speed * rotation(random.uniform(0, 2 * np.pi)).to(mean_2)[0], mask_Khw, random)


def stiff(vector_2: Tensor, mask_Khw: Tensor, random: np.random.Generator) -> Tensor:
    """Return one motion all over a body, (K, h, w, 2), its pace unsteady, and as uneven as estimated flow is."""
    frames, height, width = mask_Khw.shape
    pace_K = 1 + np.convolve(random.normal(0, 0.1, frames + 4), np.ones(5) / 5, "valid")
    coarse = random.normal(size=(1, 2, max(2, frames // 4), max(2, height // 3), max(2, width // 3)))
    rough_12Khw = F.interpolate(torch.from_numpy(coarse), (frames, height, width), mode="trilinear", align_corners=True)
    rough_Khw2 = rough_12Khw[0].permute(1, 2, 3, 0).to(vector_2)
    smooth_Khw2 = torch.from_numpy(pace_K).to(vector_2)[:, None, None, None] * vector_2
    return smooth_Khw2 + rough_Khw2 * float(vector_2.norm()) * random.uniform(0.05, 0.3)
