"""True and detected regions of a video, as boxes; and what must hold of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """The true regions of one video, in any order.

    ``box_R4`` holds x1, y1, x2, y2 in pixels of the original frame, 0-based, the last row and column included.
    """

    track_R: NDArray[np.int64]
    frame_R: NDArray[np.int64]
    box_R4: NDArray[np.float64]


def no_tracks() -> Tracks:
    """Return the true regions of a normal video."""
    return Tracks(track_R=np.zeros(0, np.int64), frame_R=np.zeros(0, np.int64), box_R4=np.zeros((0, 4)))


@dataclass(frozen=True, kw_only=True)
class Detections:
    """The regions that a detector reports in one video; boxes as in :class:`Tracks`, higher score = more abnormal."""

    frame_D: NDArray[np.int64]
    box_D4: NDArray[np.float64]
    score_D: NDArray[np.float64]


def overlap(first_P4: NDArray[np.float64], second_P4: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union of pairs of boxes x1, y1, x2, y2, the last row and column included; (P,)."""
    low_P2 = np.maximum(first_P4[:, :2], second_P4[:, :2])
    side_P2 = np.maximum(np.minimum(first_P4[:, 2:], second_P4[:, 2:]) - low_P2 + 1, 0)
    shared_P = side_P2.prod(axis=1)
    return np.asarray(shared_P / (_areas(first_P4) + _areas(second_P4) - shared_P))


def _areas(box_P4: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((box_P4[:, 2:] - box_P4[:, :2] + 1).prod(axis=1))


def check_detections(tracks: Mapping[str, Tracks], detections: Mapping[str, Detections]) -> None:
    """Raise DataError for detections in a video that is not in ``tracks``, or with a score or box that is not finite."""
    strange = [video for video in detections if video not in tracks]
    if strange:
        raise DataError(
            f"video {strange[0]}: expected detections in the {len(tracks)} videos with tracks, found "
            f"{len(detections[strange[0]].score_D)} in one without; a normal video has an empty track file "
            f"({len(strange)} such of {len(detections)} videos with detections)"
        )
    for video, part in detections.items():
        bad_D = np.flatnonzero(~(np.isfinite(part.score_D) & np.isfinite(part.box_D4).all(axis=1)))
        if len(bad_D):
            raise DataError(
                f"video {video}: expected finite boxes and scores, found {len(bad_D)} of {len(part.score_D)} detections "
                f"that are not, first in frame {part.frame_D[bad_D[0]]}"
            )


def check_frames(
    tracks: Mapping[str, Tracks], detections: Mapping[str, Detections], num_frames: int | Mapping[str, int]
) -> None:
    """Raise DataError for a true or detected region in a frame that its video does not have."""
    for what, table in (("tracks", tracks), ("detections", detections)):
        for video, part in table.items():
            frame_N = part.frame_R if isinstance(part, Tracks) else part.frame_D
            frames = num_frames if isinstance(num_frames, int) else num_frames[video]
            if len(frame_N) and not 0 <= frame_N.min() <= frame_N.max() < frames:
                raise DataError(
                    f"video {video}: expected {what} in frames 0 to {frames - 1}, found frames {frame_N.min()} to "
                    f"{frame_N.max()}; frames are counted from 0 in each video"
                )
