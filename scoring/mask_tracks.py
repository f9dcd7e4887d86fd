"""Tracks derived from pixel masks, for datasets that publish masks and no tracks.

A region is a connected component (8 neighbours) of a frame's mask, and its box. It continues the track of the component of
the frame before with which it shares most pixels; of several that would continue one track, the one that shares most does,
and the others begin tracks of their own. An object that is hidden for a frame comes back as a new track, and two that touch
are one. So numbers from derived tracks compare with each other, not with those from hand-made tracks: say which.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Labels
from scoring.region_boxes import Tracks, no_tracks

SOURCE = "tracks derived from pixel masks"
"""How to name them beside a number."""


def tracks_of_labels(labels: Labels | None) -> Tracks | None:
    """Return the true regions of a video with pixel masks, or of a normal one; None where they are not known."""
    if labels is None:
        return None
    if labels.pixel_mask_THW is not None:
        return tracks_from_masks(labels.pixel_mask_THW)
    return None if labels.frame_T.any() else no_tracks()


def tracks_from_masks(mask_THW: NDArray[np.bool_]) -> Tracks:
    """Return the regions of (T, H, W) bool masks, True = anomalous, linked over time; boxes in pixels of the masks."""
    rows: list[tuple[int, ...]] = []
    before_HW = np.zeros(mask_THW.shape[1:], np.int32)
    track_before: list[int] = []
    next_track = 0
    for frame, mask_HW in enumerate(mask_THW):
        count, label_HW, stats, _ = cv2.connectedComponentsWithStats(mask_HW.astype(np.uint8), connectivity=8)
        continued = _continued(before_HW, label_HW) if count > 1 and track_before else {}
        track_now = []
        for component in range(1, count):
            if component in continued:
                track_now.append(track_before[continued[component] - 1])
            else:
                track_now.append(next_track)
                next_track += 1
            x, y, width, height = (int(value) for value in stats[component, :4])
            rows.append((track_now[-1], frame, x, y, x + width - 1, y + height - 1))
        before_HW, track_before = np.asarray(label_HW, np.int32), track_now
    row_R6 = np.array(rows, np.int64).reshape(-1, 6)
    return Tracks(track_R=row_R6[:, 0], frame_R=row_R6[:, 1], box_R4=row_R6[:, 2:].astype(np.float64))


def _continued(before_HW: NDArray[np.int32], now_HW: NDArray[np.int32]) -> dict[int, int]:
    """Return component now -> component before, each used once, the pairs that share most pixels first."""
    both_HW = (before_HW > 0) & (now_HW > 0)
    pair_K2, shared_K = np.unique(np.stack([before_HW[both_HW], now_HW[both_HW]], axis=1), axis=0, return_counts=True)
    found: dict[int, int] = {}
    for place in np.argsort(-shared_K, kind="stable"):
        before, now = (int(value) for value in pair_K2[place])
        if now not in found and before not in found.values():
            found[now] = before
    return found
