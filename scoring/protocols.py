"""The exact rules by which frames are chosen and scores normalised; numbers under different protocols do not compare."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.config import CLIP_FRAMES

TapName = Literal["centre", "last"]
SCORED_FRAME: Mapping[TapName, int] = MappingProxyType({"centre": 8, "last": CLIP_FRAMES - 1})


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way to get from windows of frames to comparable scores."""

    name: str
    tap: TapName
    """Which frame of a window of 16 (stride 1) is scored: index 8, or the last one (needs no future frame)."""
    dropped_first: int
    """Frames at the start of a video that get no score; their labels are dropped with them."""
    dropped_last: int
    per_video: bool
    """Scores are brought to 0..1 by the least and greatest of their own test video (which must be seen whole)."""
    edges: str
    """What becomes of frames around which no whole window fits."""
    normalisation: str
    smoothing: str
    """Over time, of scores; trivial baselines called smoothed are smoothed beforehand."""
    summary: str

    @property
    def causal(self) -> bool:
        """Return whether a score is known as soon as its frame is, so that an alarm can be raised."""
        return SCORED_FRAME[self.tap] == CLIP_FRAMES - 1 and not self.per_video

    def rules(self, label_sources: Sequence[str]) -> dict[str, Any]:
        """Return everything by which numbers were made, as plain JSON, to stand beside them."""
        return {
            "window": CLIP_FRAMES,
            "stride": 1,
            "scored_frame": SCORED_FRAME[self.tap],
            "edges": self.edges,
            "normalisation": self.normalisation,
            "smoothing": self.smoothing,
            "causal": self.causal,
            "label_set": name_label_set(label_sources),
        }

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
    edges="the first 8 and last 7 frames of a video are dropped with their labels",
    normalisation="min-max over each test video",
    smoothing="none",
    summary="frame 8 of each window of 16, first 8 and last 7 frames dropped, min-max per test video",
)
"""As arXiv 2311.16514 and the programs of its family (STEAL-Net, LNTRA) evaluate; confirmed by their curve lengths."""

DEPLOYMENT = Protocol(
    name="deployment",
    tap="last",
    dropped_first=0,
    dropped_last=0,
    per_video=False,
    edges="every frame is scored; the first 15 windows of a video begin with repeats of its first frame",
    normalisation="z-scores against normal training windows; nothing from the test split",
    smoothing="none",
    summary="every frame, past frames only, scale learnt from normal training video, nothing from the test split",
)

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType({protocol.name: protocol for protocol in (PAPER, DEPLOYMENT)})


def name_label_set(sources: Sequence[str]) -> str | None:
    """Return one name for the labels of all videos: their only source, or the first and the last of several; None = none."""
    names = sorted(set(sources))
    if not names:
        return None
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({len(names)} sources)"


def min_max(score_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (x - least) / (greatest - least); all zeros where a video has one value throughout."""
    least, greatest = float(score_N.min()), float(score_N.max())
    if greatest == least:
        return np.zeros_like(score_N)
    return (score_N - least) / (greatest - least)
