"""The objects indicator: how unlike any object of normal video, at that place, an object is in size, shape and motion.

A nearest-neighbour density over attributes of objects, as in Reiss and Hoshen, *Attribute-based Representations for
Accurate and Interpretable Video Anomaly Detection* (arXiv 2212.00789), with three differences: objects are whatever is not
the empty scene, so that no detector and no class is needed; place is one of the attributes, since what is normal depends on
it; and the distance to the neighbours is set against how far apart these are themselves (local outlier factor, Breunig et
al. 2000), since what is rare in normal video (people who come in at the bottom, groups) lies far from its neighbours too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.config import CLIP_FRAMES
from pipeline.models.foreground import Floats
from pipeline.models.objects import Objects

NEIGHBOURS = 5
PLACE = (0.4, 0.06)
"""Distance to the right and downwards, as shares of the frame's height, that counts as much as one spread of an attribute:
people walk along a street, and how large and fast they look depends on how far down the frame they stand."""
PLACE_NEIGHBOURS = 64
LOG_AREA = 2  # column of the attributes
SPREAD_SAMPLE = 1000  # objects; a median over these is known to a few percent
SMALLEST_SPREAD = 1e-3
MAD_PER_STD = 0.6745  # median absolute deviation of a normal distribution
PART = 0.5
"""Share of the usual area at its place from which on an object that the border cuts off is judged at all."""
HIGHEST = 10.0
"""A score beyond this says no more; it is that of any object where training video showed none."""
MOST_OBJECTS = 20_000  # remembered per scene; enough for a density in nine dimensions, and found in no time


@dataclass(frozen=True, kw_only=True)
class FrameObjects:
    """The objects of a stretch of T frames and how unusual each is: ``score_N`` (N,) float64, 0..HIGHEST."""

    objects: Objects
    score_N: NDArray[np.float64]
    frames: int

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Return the objects of stretches that follow each other."""
        starts = np.cumsum([0, *(part.frames for part in parts)])
        return cls(
            objects=Objects.join([part.objects.later(int(start)) for part, start in zip(parts, starts, strict=False)]),
            score_N=np.concatenate([part.score_N for part in parts]),
            frames=int(starts[-1]),
        )

    def worst(self) -> NDArray[np.float64]:
        """Return the score of the most unusual object of each frame, (T,) float64; 0 where there is none."""
        worst_T = np.zeros(self.frames)
        np.maximum.at(worst_T, self.objects.frame_N, self.score_N)
        return worst_T

    def painted(self, frame_N: NDArray[np.int64], cells: tuple[int, int], side: int) -> NDArray[np.float16]:
        """Return a map of some frames, (N, h, w): the score of the most unusual object of each cell, 0 where there is none.

        A cell covers ``side`` x ``side`` pixels; an object is where its box is.
        """
        map_Nhw = np.zeros((len(frame_N), *cells), np.float16)
        row_of = {int(frame): row for row, frame in enumerate(frame_N)}
        box_N4 = self.objects.box_N4
        first_N2, stop_N2 = box_N4[:, :2] // side, -(-(box_N4[:, :2] + box_N4[:, 2:]) // side)
        for frame, (x, y), (x_stop, y_stop), score in zip(
            self.objects.frame_N, first_N2, stop_N2, self.score_N.astype(np.float16), strict=True
        ):
            if (row := row_of.get(int(frame))) is not None:
                covered_hw = map_Nhw[row, y:y_stop, x:x_stop]
                np.maximum(covered_hw, score, out=covered_hw)
        return map_Nhw


def over_window(worst_T: NDArray[np.float64], frame_N: NDArray[np.int64], tap: int) -> NDArray[np.float64]:
    """Return the mean over the window of 16 of which each frame is number ``tap``, without frames before the first."""
    sum_T = np.concatenate([[0.0], np.cumsum(worst_T)])
    start_N = np.maximum(frame_N - tap, 0)
    stop_N = np.minimum(frame_N - tap + CLIP_FRAMES, len(worst_T))
    return np.asarray((sum_T[stop_N] - sum_T[start_N]) / (stop_N - start_N))


class UsualSize:
    """How large whole objects are at each place."""

    def __init__(self, whole_PD: Floats) -> None:
        self._log_area_P = whole_PD[:, LOG_AREA]
        self._tree = cKDTree(whole_PD[:, :2] / PLACE)

    def shows_enough(self, attribute_ND: Floats, whole_N: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Say which objects can be judged: whole ones, and such as are at least half as large as is usual at their place."""
        if not self._tree.n or not len(attribute_ND):
            return np.ones(len(attribute_ND), np.bool_)
        _, near_NK = self._tree.query(attribute_ND[:, :2] / PLACE, k=min(PLACE_NEIGHBOURS, self._tree.n))
        usual_N = np.median(self._log_area_P[near_NK].reshape(len(attribute_ND), -1), axis=1)
        return np.asarray(whole_N | (attribute_ND[:, LOG_AREA] >= usual_N + np.log(PART)))


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The objects of normal video of one scene, M of them.

    ``attribute_MD`` float32, see :func:`describe`; ``spread_D`` float32, what counts as 1 in each; ``video_M`` int64, which
    video each is of; ``whole_M`` bool.
    """

    attribute_MD: Floats
    spread_D: Floats
    video_M: NDArray[np.int64]
    whole_M: NDArray[np.bool_]

    @cached_property
    def size(self) -> UsualSize:
        """How large objects are."""
        return UsualSize(self.attribute_MD[self.whole_M])

    @cached_property
    def usual_M(self) -> NDArray[np.float64]:
        """Mean distance of each to its nearest neighbours in other videos; 0 where there are none."""
        usual_M = np.zeros(len(self.attribute_MD))
        for video in np.unique(self.video_M):
            own_M = self.video_M == video
            if not own_M.all():
                usual_M[own_M] = _nearest(cKDTree(self._point_MD[~own_M]), self._point_MD[own_M])[0].mean(1)
        return usual_M

    def score(self, attribute_ND: Floats, video: int | None = None) -> NDArray[np.float64]:
        """Return the local outlier factor of objects, (N,) float64, 0..HIGHEST; ``video`` = as if that were not known."""
        known_M = np.ones(len(self.attribute_MD), np.bool_) if video is None else self.video_M != video
        if not len(attribute_ND) or not known_M.any():
            return np.full(len(attribute_ND), HIGHEST)
        tree = self._tree if video is None else cKDTree(self._point_MD[known_M])
        distance_NK, near_NK = _nearest(tree, attribute_ND / self.spread_D)
        usual_N = self.usual_M[known_M][near_NK].mean(1)
        # 1 + : where all neighbours are alike, one spread more is not yet unusual
        return np.asarray(np.minimum(distance_NK.mean(1) / (1 + usual_N), HIGHEST))

    @cached_property
    def _point_MD(self) -> Floats:
        return np.asarray(self.attribute_MD / self.spread_D, np.float32)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self._point_MD)


def describe(objects: Objects, height: int) -> Floats:
    """Return the attributes of objects in a frame of ``height`` pixels, (N, 9) float32.

    Where it stands (its middle, its foot) as shares of the height; logarithms of area, width and height; mean flow to the
    right and downwards, and the spread of both within the object (limbs move, those of a cart do not).
    """
    left_N, top_N, width_N, height_N = objects.box_N4.T.astype(np.float64)
    columns = [
        (left_N + width_N / 2) / height,
        (top_N + height_N) / height,
        np.log(np.maximum(objects.area_N, 1)),
        np.log(np.maximum(width_N, 1)),
        np.log(np.maximum(height_N, 1)),
        *objects.motion_N4.T,
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def remember(
    attribute_ND: Floats, whole_N: NDArray[np.bool_], video_N: NDArray[np.int64], random: np.random.Generator
) -> Memory:
    """Return the memory of a scene's objects: those that show enough of themselves, and at most MOST_OBJECTS of them."""
    kept_M = np.flatnonzero(UsualSize(attribute_ND[whole_N]).shows_enough(attribute_ND, whole_N))
    if len(kept_M) > MOST_OBJECTS:
        kept_M = np.sort(random.choice(kept_M, MOST_OBJECTS, replace=False))
    return Memory(
        attribute_MD=attribute_ND[kept_M],
        spread_D=_spread(attribute_ND[kept_M], random),
        video_M=video_N[kept_M],
        whole_M=whole_N[kept_M],
    )


def _spread(attribute_MD: Floats, random: np.random.Generator) -> Floats:
    """Return what counts as 1 in each attribute, (D,): by how much it usually differs among objects at one place."""
    spread_D = np.full(attribute_MD.shape[1], SMALLEST_SPREAD, np.float32)
    spread_D[:2] = PLACE
    if not len(attribute_MD):
        return spread_D
    place_M2 = attribute_MD[:, :2] / PLACE
    sample_S = random.permutation(len(attribute_MD))[:SPREAD_SAMPLE]
    _, near_SK = cKDTree(place_M2).query(place_M2[sample_S], k=min(PLACE_NEIGHBOURS, len(place_M2)))
    near_SKD = attribute_MD[near_SK.reshape(len(sample_S), -1), 2:]
    deviation_SD = np.median(np.abs(near_SKD - np.median(near_SKD, axis=1, keepdims=True)), axis=1) / MAD_PER_STD
    spread_D[2:] = np.maximum(np.sqrt(np.mean(deviation_SD**2, axis=0)), SMALLEST_SPREAD)
    return spread_D


def _nearest(tree: cKDTree, point_ND: Floats) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return distance and index of the nearest neighbours, (N, K) each; K = 5, or as many as there are."""
    count = min(NEIGHBOURS, tree.n)
    distance, index = tree.query(point_ND, k=count)
    return distance.reshape(-1, count), index.reshape(-1, count)
