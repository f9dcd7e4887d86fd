"""Following silhouettes from frame to frame, through short encounters with others."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.models.foreground import Bools, Floats

_REACH = 2  # pixels by which a silhouette may grow over its prediction while it touches another one
_MERGED = 1.6  # a region this much larger than the object holds something else too
_LOST = 0.4  # an object that shrinks below this share of its usual area is hidden
_MEMORY = 8  # frames over which an object's usual area is taken
_GROUP = 0.4  # what comes apart into pieces, the smaller this share of the larger, was a group
_YOUNG = 12  # frames in which an object may still be coming into view, in parts


@dataclass(frozen=True)
class Silhouette:
    """The pixels of one object in one frame, cut out: ``pixels_HW`` lies at row ``top``, column ``left``."""

    top: int
    left: int
    pixels_HW: Bools

    @property
    def area(self) -> int:
        """Pixels."""
        return int(np.count_nonzero(self.pixels_HW))

    def paint(self, shape: tuple[int, int]) -> Bools:
        """Return the silhouette in a whole frame of (height, width) ``shape``."""
        mask_HW = np.zeros(shape, np.bool_)
        height, width = self.pixels_HW.shape
        mask_HW[self.top : self.top + height, self.left : self.left + width] = self.pixels_HW
        return mask_HW


def cut_out(mask_HW: Bools) -> Silhouette:
    """Return the silhouette of a mask that is True somewhere."""
    left, top, width, height = cv2.boundingRect(mask_HW.view(np.uint8))
    return Silhouette(top, left, mask_HW[top : top + height, left : left + width].copy())


@dataclass
class Track:
    """One object: its silhouettes in the frames ``first``, ``first + 1``, ...; centres are (x, y) in pixels."""

    first: int
    silhouettes: list[Silhouette] = field(default_factory=list)
    centres: list[tuple[float, float]] = field(default_factory=list)

    @property
    def stop(self) -> int:
        """The frame after the last one."""
        return self.first + len(self.silhouettes)

    def travelled(self) -> float:
        """Return how far the centre ever was from where it appeared, in pixels."""
        centres = np.array(self.centres)
        return float(np.hypot(*(centres - centres[0]).T).max())


@dataclass
class _Followed:
    track: Track
    mask_HW: Bools
    velocity: NDArray[np.float64]
    areas: list[int]

    @property
    def age(self) -> int:
        """Frames since it appeared."""
        return len(self.track.silhouettes)

    @property
    def usual_area(self) -> float:
        return float(np.median(self.areas[-_MEMORY:]))


class Tracker:
    """Follows every region of foreground; feed it the frames of a stretch of video one after the other."""

    def __init__(self, min_pixels: int) -> None:
        self._min_pixels = min_pixels
        self._frame = 0
        self._active: list[_Followed] = []
        self.tracks: list[Track] = []

    def step(self, foreground_HW: Bools, flow_2HW: Floats | None) -> None:
        """Take the next frame: its foreground, and the flow (2, H, W) that leads to it, None for the first frame."""
        predicted = [_predict(followed, flow_2HW) for followed in self._active]
        count, labels_HW = cv2.connectedComponents(foreground_HW.astype(np.uint8), connectivity=8)
        claims = _claims(predicted, np.asarray(labels_HW, np.int32), count)
        parts = self._join_parts(claims, predicted)
        parts |= self._part_groups(claims, np.asarray(labels_HW, np.int32))
        masks = [np.zeros_like(foreground_HW) for _ in predicted]
        born: list[Bools] = []
        for label in range(1, count):
            region_HW = labels_HW == label
            owners = claims.get(label, [])
            rest_HW = self._share_out(region_HW, owners, predicted, masks)
            born += self._large_parts(rest_HW, whole=not owners)
        shared = {owner for owners in claims.values() if len(owners) > 1 for owner in owners}
        kept = [
            number not in parts and self._update(number, masks[number], number in shared)
            for number in range(len(predicted))
        ]
        self._active = [followed for followed, keep in zip(self._active, kept, strict=True) if keep]
        self._begin(born)
        self._frame += 1

    def _join_parts(self, claims: dict[int, list[int]], predicted: list[Bools]) -> set[int]:
        """End objects that are parts of older ones, head and legs of one person; return them, taken out of ``claims``."""
        parts: set[int] = set()
        for owners in claims.values():
            for younger in sorted(owners, key=lambda owner: self._active[owner].age):
                if self._active[younger].age > _YOUNG:
                    break
                others = [owner for owner in owners if owner != younger and owner not in parts]
                if any(_one_body(predicted[younger], predicted[other]) for other in others):
                    parts.add(younger)
            owners[:] = [owner for owner in owners if owner not in parts]
        return parts

    def _part_groups(self, claims: dict[int, list[int]], labels_HW: NDArray[np.int32]) -> set[int]:
        """Give up regions beside the main one of an object; return those that were groups, taken out of ``claims``."""
        groups: set[int] = set()
        for owner in range(len(self._active)):
            regions = [labels_HW == label for label, owners in claims.items() if owners == [owner]]
            labels = [label for label, owners in claims.items() if owners == [owner]]
            if len(labels) < 2:
                continue
            areas = [int(np.count_nonzero(region_HW)) for region_HW in regions]
            main = int(np.argmax(areas))
            for label, region_HW, area in zip(labels, regions, areas, strict=True):
                if label == labels[main] or area < self._min_pixels or _one_body(regions[main], region_HW):
                    continue
                claims[label] = []
                if area >= _GROUP * areas[main]:
                    groups.add(owner)
        for owners in claims.values():
            owners[:] = [owner for owner in owners if owner not in groups]
        return groups

    def _share_out(self, region_HW: Bools, owners: list[int], predicted: list[Bools], masks: list[Bools]) -> Bools:
        """Give the pixels of a region to the objects that claim it and return what is left."""
        if not owners:
            return region_HW
        alone = len(owners) == 1
        first = self._active[owners[0]]
        if alone and (first.age <= _YOUNG or np.count_nonzero(region_HW) <= _MERGED * first.usual_area):
            masks[owners[0]] |= region_HW
            return np.zeros_like(region_HW)
        distance_NHW = np.stack([_distance(predicted[owner]) for owner in owners])
        nearest_HW = np.argmin(distance_NHW, axis=0)
        near_HW = region_HW & (distance_NHW.min(axis=0) <= _REACH)
        for number, owner in enumerate(owners):
            masks[owner] |= near_HW & (nearest_HW == number)
        return region_HW & ~near_HW if alone else np.zeros_like(region_HW)

    def _large_parts(self, rest_HW: Bools, *, whole: bool) -> Iterable[Bools]:
        if np.count_nonzero(rest_HW) < self._min_pixels:
            return
        if whole:
            yield rest_HW
            return
        count, labels_HW, stats, _ = cv2.connectedComponentsWithStats(rest_HW.astype(np.uint8), connectivity=4)
        yield from (labels_HW == n for n in range(1, count) if stats[n, cv2.CC_STAT_AREA] >= self._min_pixels)

    def _update(self, number: int, mask_HW: Bools, shared: bool) -> bool:
        followed = self._active[number]
        area = int(np.count_nonzero(mask_HW))
        if area < max(_LOST * followed.usual_area, self._min_pixels / 2):
            return False
        centre = _centre(mask_HW)
        if not shared:  # beside another one the border between the two moves the centre
            step = np.subtract(centre, followed.track.centres[-1])
            followed.velocity = 0.7 * followed.velocity + 0.3 * step
            followed.areas.append(area)
        followed.mask_HW = mask_HW
        followed.track.silhouettes.append(cut_out(mask_HW))
        followed.track.centres.append(centre)
        return True

    def _begin(self, born: list[Bools]) -> None:
        for mask_HW in born:
            track = Track(self._frame, [cut_out(mask_HW)], [_centre(mask_HW)])
            self.tracks.append(track)
            self._active.append(_Followed(track, mask_HW, np.full(2, np.nan), [int(np.count_nonzero(mask_HW))]))


def _predict(followed: _Followed, flow_2HW: Floats | None) -> Bools:
    """Return where an object should be now: moved by its velocity, or by the flow while that is not known."""
    if np.isnan(followed.velocity).any():
        assert flow_2HW is not None
        followed.velocity = np.median(flow_2HW[:, followed.mask_HW].astype(np.float64), axis=1)
    return shifted(followed.mask_HW, *followed.velocity)


def shifted(mask_HW: Bools, x: float, y: float) -> Bools:
    """Return a mask moved by whole pixels, x to the right and y down; what leaves the frame is lost."""
    columns, rows = round(x), round(y)
    height, width = mask_HW.shape
    moved_HW = np.zeros_like(mask_HW)
    moved_HW[max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)] = mask_HW[
        max(-rows, 0) : height + min(-rows, 0), max(-columns, 0) : width + min(-columns, 0)
    ]
    return moved_HW


def _claims(predicted: list[Bools], labels_HW: NDArray[np.int32], count: int) -> dict[int, list[int]]:
    """Return, for each region, which objects are predicted to lie in a good part of it, or it in a good part of them."""
    areas = np.bincount(labels_HW.ravel(), minlength=count)
    claims: dict[int, list[int]] = {}
    for number, mask_HW in enumerate(predicted):
        covered = np.bincount(labels_HW[mask_HW], minlength=count)
        smaller = np.minimum(areas, np.maximum(1, np.count_nonzero(mask_HW)))
        for label in np.flatnonzero(covered >= 0.3 * smaller):
            if label > 0 and covered[label] > 0:
                claims.setdefault(int(label), []).append(number)
    return claims


def _one_body(first_HW: Bools, second_HW: Bools) -> bool:
    """Say whether two touching masks look like one person: one above the other, together of a person's proportions."""
    if not first_HW.any() or not second_HW.any():
        return False
    (left, top, width, height), (left2, top2, width2, height2) = (
        cv2.boundingRect(mask_HW.view(np.uint8)) for mask_HW in (first_HW, second_HW)
    )
    beside = min(left + width, left2 + width2) - max(left, left2)
    level = min(top + height, top2 + height2) - max(top, top2)
    wide = max(left + width, left2 + width2) - min(left, left2)
    high = max(top + height, top2 + height2) - min(top, top2)
    return beside >= 0.6 * min(width, width2) and level <= 0.5 * min(height, height2) and wide <= high <= 4 * wide


def _distance(mask_HW: Bools) -> Floats:
    """Return (H, W) float32, pixels to the mask; inside it a little less near the middle, so that overlaps are shared."""
    outside_HW = cv2.distanceTransform((~mask_HW).astype(np.uint8), cv2.DIST_L2, 3)
    inside_HW = cv2.distanceTransform(mask_HW.astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(outside_HW - 0.1 * inside_HW, np.float32)


def _centre(mask_HW: Bools) -> tuple[float, float]:
    rows, columns = np.nonzero(mask_HW)
    return float(columns.mean()), float(rows.mean())
