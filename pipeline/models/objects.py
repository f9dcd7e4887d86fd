"""Every object of a frame of a fixed camera, moving or not: where it is, how large, and how it moves. No weights.

What is not the empty scene is an object: a bag that was put down as well as a runner, whether or not a detector knows its
class. Several that touch are one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.models.foreground import Background, Bytes, Floats, foreground, whole_objects


@dataclass(frozen=True, kw_only=True)
class Objects:
    """The objects of a stretch of video, N in all, in the order of its frames.

    ``frame_N`` int64, 0 = first of the stretch. ``box_N4`` int64: left, top, width, height, pixels. ``area_N`` int64,
    pixels. ``motion_N4`` float32: mean flow to the right and downwards, and the standard deviation of both, pixels per
    frame. ``whole_N`` bool: False where the border of the picture cuts it off, or may do so.
    """

    frame_N: NDArray[np.int64]
    box_N4: NDArray[np.int64]
    area_N: NDArray[np.int64]
    motion_N4: Floats
    whole_N: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.frame_N)

    def take(self, kept_N: NDArray[np.generic]) -> Self:
        """Return some of them, by index or by a mask."""
        return type(self)(**{name: value_N[kept_N] for name, value_N in vars(self).items()})

    def later(self, frames: int) -> Self:
        """Return the same objects as those of a longer stretch, which begins ``frames`` before."""
        return replace(self, frame_N=self.frame_N + frames)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Return the objects of consecutive stretches as those of one."""
        names = [found.name for found in fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def find_objects(frames_THWC: Bytes, flow_T2HW: Floats, background: Background, min_area: float) -> Objects:
    """Return all regions of foreground that cover at least ``min_area`` of the frame.

    Parameters
    ----------
    frames_THWC : (T, H, W, C) uint8.
    flow_T2HW : (T, 2, H, W) floating point, pixels per frame; element t is the motion that arrived in frame t.
    """
    height, width = frames_THWC.shape[1:3]
    min_pixels = max(4, round(min_area * height * width))
    rows = [
        (frame, *one)
        for frame, (frame_HWC, flow_2HW) in enumerate(zip(frames_THWC, flow_T2HW, strict=True))
        for one in _regions(frame_HWC, np.asarray(flow_2HW, np.float32), background, min_pixels)
    ]
    table = np.array(rows, np.float64).reshape(len(rows), 10)
    box_N4 = table[:, 1:5].astype(np.int64)
    end_N2 = box_N4[:, :2] + box_N4[:, 2:]
    return Objects(
        frame_N=table[:, 0].astype(np.int64),
        box_N4=box_N4,
        area_N=table[:, 5].astype(np.int64),
        motion_N4=table[:, 6:].astype(np.float32),
        # those at the upper border are seen whole in most views: heads are there, not feet
        whole_N=(box_N4[:, 0] > 0) & (end_N2[:, 0] < width) & (end_N2[:, 1] < height),
    )


def _regions(
    frame_HWC: Bytes, flow_2HW: Floats, background: Background, min_pixels: int
) -> list[tuple[float, ...]]:
    """Return left, top, width, height, area and motion of each region of one frame."""
    mask_HW = whole_objects(foreground(frame_HWC, background), min_pixels).astype(np.uint8)
    count, labels_HW, stats, _ = cv2.connectedComponentsWithStats(mask_HW, connectivity=8)
    found = []
    for label in range(1, count):
        left, top, width, height, area = (int(value) for value in stats[label])
        if area < min_pixels:
            continue
        inside = np.s_[top : top + height, left : left + width]
        flow_2P = flow_2HW[:, *inside][:, labels_HW[inside] == label]
        found.append((left, top, width, height, area, *flow_2P.mean(1).tolist(), *flow_2P.std(1).tolist()))
    return found
