"""The exact rules by which frames are chosen and scores normalised; numbers under different protocols do not compare."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.config import CLIP_FRAMES

TapName = Literal["centre", "last"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way to get from windows of frames to comparable scores. Neither rule smooths scores over time."""

    name: str
    tap: TapName
    """Which frame of a window of 16 (stride 1) is scored: index 8, or the last one (needs no future frame)."""
    dropped_first: int
    """Frames at the start of a video that get no score; their labels are dropped with them."""
    dropped_last: int
    per_video: bool
    """Scores are brought to 0..1 by the least and greatest of their own test video (which must be seen whole)."""
    summary: str

    def kept(self, num_frames: int) -> NDArray[np.int64]:
        """Return the frames that are scored, of a video of ``num_frames``: (N,) int64, ascending."""
        return np.arange(self.dropped_first, num_frames - self.dropped_last, dtype=np.int64)

    def normalise(self, score_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scores of one whole video as this protocol compares them with those of others."""
        return min_max(score_N) if self.per_video else score_N


PAPER = Protocol(
    name="paper",
    tap="centre",
    dropped_first=8,
    dropped_last=CLIP_FRAMES - 1 - 8,
    per_video=True,
    summary="frame 8 of each window of 16, first 8 and last 7 frames dropped, min-max per test video",
)
"""As arXiv 2311.16514 and the programs of its family (STEAL-Net, LNTRA) evaluate; confirmed by their curve lengths."""

DEPLOYMENT = Protocol(
    name="deployment",
    tap="last",
    dropped_first=0,
    dropped_last=0,
    per_video=False,
    summary="every frame, past frames only, scale learnt from normal training video, nothing from the test split",
)

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType({protocol.name: protocol for protocol in (PAPER, DEPLOYMENT)})


def min_max(score_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (x - least) / (greatest - least); all zeros where a video has one value throughout."""
    least, greatest = float(score_N.min()), float(score_N.max())
    if greatest == least:
        return np.zeros_like(score_N)
    return (score_N - least) / (greatest - least)
