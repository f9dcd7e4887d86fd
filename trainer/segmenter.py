"""The motion network: it marks, place by place, motion that does not belong here.

A discriminator as the paper's, but of flow instead of frame features, and of places instead of frames, as the discriminative
network of DRAEM (Zavrtanik et al., ICCV 2021) is. An autoencoder says how badly it returns what it sees, which speed alone
makes worse; this network is shown what normal and unusual motion look like, and may use whatever tells them apart.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.autoencoder import Trunk, initialised

CELL = 4
"""Pixels along each side of what one mark is of."""
FRAMES = 2  # per element of what the trunk returns


class MotionSegmenter(Trunk):
    """A logit for each 4 x 4 pixels of each frame: above 0, motion there is rather made up than normal."""

    def __init__(self, *, width: float = 1.0, place: bool = True, skips: Sequence[int] = ()) -> None:
        super().__init__(channels=2, width=width, place=place, skips=skips)
        self.output = nn.Conv3d(self.widths[1], FRAMES, 1)

    def forward(self, clip_B2THW: Tensor) -> Tensor:
        """Return the logits, (B, T, H / 4, W / 4); T a multiple of 8, H and W of 16."""
        logit_B2Thw: Tensor = self.output(self.hidden(clip_B2THW))
        return logit_B2Thw.transpose(1, 2).flatten(1, 2)

    def error_maps(self, clip_B2THW: Tensor, cell: int, index_K: Sequence[int] | None = None) -> Tensor:
        """Return -ln of the probability that motion is normal, of some frames or of all, (B, K, H / cell, W / cell)."""
        logit_BThw = self(clip_B2THW).float()
        surprise_BKhw = F.softplus(logit_BThw if index_K is None else logit_BThw[:, list(index_K)])
        if cell == CELL:
            return surprise_BKhw
        size = [side // cell for side in clip_B2THW.shape[-2:]]
        return F.interpolate(surprise_BKhw, size, mode="bilinear", align_corners=False)


def make_segmenter(
    *, width: float, place: bool, skips: Sequence[int], seed: int, device: torch.device
) -> MotionSegmenter:
    """Return an initialised network, see :func:`trainer.autoencoder.initialised`."""
    return initialised(partial(MotionSegmenter, width=width, place=place, skips=skips), seed, device)
