"""Following the instances that a detector finds from frame to frame, though it misses some."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pipeline.models.tracking import Silhouette, Track, cut_out, shifted

_LIKE = 0.15  # mean of overlap and nearness, from which on two silhouettes may be one object
_GROWTH = 3.0  # times in area that an object grows or shrinks at most from one frame in which it is found to the next
_MISSED = 5  # frames in a row in which a detector may miss an object


class Instance(NamedTuple):
    """What a detector finds in one frame: the number of its class, and its pixels."""

    label: int
    silhouette: Silhouette


@dataclass
class _Followed:
    track: Track
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))  # (x, y), pixels per frame
    missed: int = 0

    def likeness(self, found: Silhouette) -> float:
        """Return 0..1, how much a silhouette is where this object should be by now, and like it."""
        last, steps = self.track.silhouettes[-1], self.missed + 1
        x, y = np.rint(self.velocity * steps).astype(int)
        expected = Silhouette(last.top + int(y), last.left + int(x), last.pixels_HW)
        if not 1 / _GROWTH <= found.area / expected.area <= _GROWTH:
            return 0.0
        distance = float(np.hypot(*np.subtract(centre(found), centre(expected))))
        nearness = max(0.0, 1 - distance / (sum(last.pixels_HW.shape) / 2))  # a fast object does not overlap itself
        return (overlap(expected, found) + nearness) / 2


class InstanceTracker:
    """Follows instances of one class; feed it what was found in the frames of a stretch, one after the other.

    Each object found is given to the one that it overlaps and is nearest to, in the way that suits all best (Kuhn 1955).
    Frames in which an object was missed are filled with its last silhouette, moved along a straight line.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._frame = 0
        self._active: list[_Followed] = []
        self.tracks: list[Track] = []

    def step(self, found: Sequence[Silhouette]) -> None:
        """Take the next frame."""
        like_NM = np.array([[one.likeness(silhouette) for silhouette in found] for one in self._active])
        like_NM = np.where(like_NM >= _LIKE, like_NM, 0).reshape(len(self._active), len(found))
        taken: set[int] = set()
        matched: set[int] = set()
        for number, other in zip(*linear_sum_assignment(like_NM, maximize=True), strict=True):
            if like_NM[number, other] > 0 and self._continue(self._active[number], found[other]):
                matched.add(int(number))
                taken.add(int(other))
        for number, followed in enumerate(self._active):
            followed.missed = 0 if number in matched else followed.missed + 1
        self._active = [followed for followed in self._active if followed.missed <= _MISSED]
        for number, silhouette in enumerate(found):
            if number not in taken:
                track = Track(self._frame, [silhouette], [centre(silhouette)])
                self.tracks.append(track)
                self._active.append(_Followed(track))
        self._frame += 1

    def _continue(self, followed: _Followed, found: Silhouette) -> bool:
        """Add a silhouette to an object, and those that were missed before it; False if these would be out of view."""
        track, steps = followed.track, followed.missed + 1
        step_2 = np.subtract(centre(found), track.centres[-1]) / steps
        last_HW, between = track.silhouettes[-1].paint(self._shape), []
        for number in range(1, steps):
            moved_HW = shifted(last_HW, *(number * step_2))
            if not moved_HW.any():
                return False
            between.append(cut_out(moved_HW))
        first = len(track.silhouettes) == 1
        followed.velocity = step_2 if first else 0.7 * followed.velocity + 0.3 * step_2
        for silhouette in (*between, found):
            track.silhouettes.append(silhouette)
            track.centres.append(centre(silhouette))
        return True


def follow_instances(frames: Iterable[Sequence[Instance]], shape: tuple[int, int]) -> list[Track]:
    """Return every object that could be followed, in order of appearance; those of one class are told apart from others.

    ``frames`` holds what was found in each of consecutive frames of (height, width) ``shape``.
    """
    trackers: dict[int, InstanceTracker] = {}
    for number, instances in enumerate(frames):
        for label in sorted({one.label for one in instances} - trackers.keys()):
            trackers[label] = InstanceTracker(shape)
            for _ in range(number):
                trackers[label].step([])
        for label, tracker in trackers.items():
            tracker.step([one.silhouette for one in instances if one.label == label])
    tracks = [track for _, tracker in sorted(trackers.items()) for track in tracker.tracks]
    return sorted(tracks, key=lambda track: track.first)


def overlap(first: Silhouette, second: Silhouette) -> float:
    """Return intersection over union of two silhouettes, 0..1."""
    boxes = [np.array([one.top, one.left, *np.add((one.top, one.left), one.pixels_HW.shape)]) for one in (first, second)]
    low_2, high_2 = np.maximum(boxes[0][:2], boxes[1][:2]), np.minimum(boxes[0][2:], boxes[1][2:])
    if (low_2 >= high_2).any():
        return 0.0
    parts = [
        one.pixels_HW[low_2[0] - one.top : high_2[0] - one.top, low_2[1] - one.left : high_2[1] - one.left]
        for one in (first, second)
    ]
    both = int(np.count_nonzero(parts[0] & parts[1]))
    return both / (first.area + second.area - both)


def centre(silhouette: Silhouette) -> tuple[float, float]:
    """Return the mean place (x, y) of its pixels in the frame."""
    rows, columns = np.nonzero(silhouette.pixels_HW)
    return silhouette.left + float(columns.mean()), silhouette.top + float(rows.mean())
