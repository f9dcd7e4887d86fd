"""Tracks derived from pixel masks, for datasets that publish masks and no tracks.

A region is a connected component of a frame's mask, and its box; pieces that are hardly apart are one, since posts, spokes
and limbs cut the mask of an object to pieces. It continues the track of the component of the frame before with which it
shares most pixels; of several that would continue one track, the one that shares most does, and the others begin tracks of
their own. An object that is hidden for a frame comes back as a new track, and two that touch are one. So numbers from
derived tracks compare with each other, not with those from hand-made tracks: say which.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from pipeline.contract import Labels, Masks
from scoring.region_boxes import Tracks, no_tracks
from scoring.track_files import tracks_of

JOINED = 1 / 80
"""Share of the frame's height by which pieces grow before it is seen which of them touch; 3 pixels of 240."""
SOURCE = "tracks derived from pixel masks"
"""How to name them beside a number."""


def tracks_of_labels(labels: Labels | None) -> Tracks | None:
    """Return the true regions of a video with tracks or pixel masks, or of a normal one; None where they are not known."""
    if labels is None:
        return None
    if labels.read_tracks is not None:
        return tracks_of(labels.read_tracks())
    if labels.pixel_mask_THW is not None:
        return tracks_from_masks(labels.pixel_mask_THW)
    return None if labels.frame_T.any() else no_tracks()


@dataclass(frozen=True, kw_only=True)
class _Components:
    """The connected components of one frame, within the window that holds them all."""

    top: int
    left: int
    label_hw: NDArray[np.int32]
    """0 = no component."""
    box_C4: NDArray[np.int64]

    def shared_with(self, other: "_Components") -> dict[tuple[int, int], int]:
        """Return (component here, component there) -> pixels that both cover."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        here_hw = self.label_hw[top - self.top :, left - self.left :]
        there_hw = other.label_hw[top - other.top :, left - other.left :]
        height, width = np.minimum(here_hw.shape, there_hw.shape)
        here_hw, there_hw = here_hw[:height, :width], there_hw[:height, :width]
        both_hw = (here_hw > 0) & (there_hw > 0)
        pair_P2 = np.stack([here_hw[both_hw], there_hw[both_hw]], axis=1)
        pair_K2, count_K = np.unique(pair_P2, axis=0, return_counts=True)
        return {(int(here), int(there)): int(count) for (here, there), count in zip(pair_K2, count_K, strict=True)}


def tracks_from_masks(mask_THW: Masks) -> Tracks:
    """Return the regions of (T, H, W) bool masks, True = anomalous, linked over time; boxes in pixels of the masks."""
    rows: list[tuple[int, ...]] = []
    before: _Components | None = None
    track_before: list[int] = []
    next_track = 0
    for frame, mask_HW in enumerate(mask_THW):
        now = _find_components(mask_HW)
        continued = _continued(now.shared_with(before)) if now and before else {}
        track_now = []
        for component, box in enumerate([] if now is None else now.box_C4.tolist(), start=1):
            if component in continued:
                track_now.append(track_before[continued[component] - 1])
            else:
                track_now.append(next_track)
                next_track += 1
            rows.append((track_now[-1], frame, *box))
        before, track_before = now, track_now
    row_R6 = np.array(rows, np.int64).reshape(-1, 6)
    return Tracks(track_R=row_R6[:, 0], frame_R=row_R6[:, 1], box_R4=row_R6[:, 2:].astype(np.float64))


def _find_components(mask_HW: NDArray[np.bool_]) -> _Components | None:
    y_K, x_K = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    if not len(y_K):
        return None
    top, left = int(y_K[0]), int(x_K[0])
    window_hw = mask_HW[top : y_K[-1] + 1, left : x_K[-1] + 1].astype(np.uint8)
    side = 2 * round(JOINED * len(mask_HW)) + 1
    _, joined_hw = cv2.connectedComponents(cv2.dilate(window_hw, np.ones((side, side), np.uint8)), connectivity=8)
    label_hw = np.asarray(joined_hw * window_hw, np.int32)
    edges = [(x.start + left, y.start + top, x.stop + left - 1, y.stop + top - 1) for y, x in find_objects(label_hw)]
    return _Components(top=top, left=left, label_hw=label_hw, box_C4=np.array(edges, np.int64))


def _continued(shared: Mapping[tuple[int, int], int]) -> dict[int, int]:
    """Return component now -> component before, each used once, the pairs that share most pixels first."""
    found: dict[int, int] = {}
    for now, before in sorted(shared, key=lambda pair: -shared[pair]):
        if now not in found and before not in found.values():
            found[now] = before
    return found
