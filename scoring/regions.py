"""From error maps to regions: boxes around places that are more abnormal than training video shows, each with a score.

The maps of all networks become one map of evidence (:mod:`scoring.fusion`), on the scale of their frame values and with
their weights, so that a region's score is in the unit of the fused score. A region is a connected component (8 neighbours)
of cells with more evidence than the level, cut down to those that have at least half of its peak. Both the level and the
score from which a region is an alarm come from normal training windows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.config import EvalSettings
from pipeline.contract import Array, VideoRecord
from scoring.fusion import evidence, or_equal
from scoring.measure import Detector
from scoring.protocols import Protocol, TapName
from scoring.region_metrics import Detections
from scoring.threshold import normal_evidence, tail_threshold

CELL = 4  # stored pixels per cell of a map, as trainer.indicators.MAP_STRIDE, which needs torch
PEAK_SHARE = 0.5  # a region is as wide as its peak at half of its height, so that faint halos do not join neighbours
FRAMES_AT_ONCE = 256
IN_FRAME = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))]).astype(np.bool_)


@dataclass(frozen=True, kw_only=True)
class Regions:
    """The regions of one video, in order of their frames.

    ``box_R4`` (R, 4) int64: x1, y1, x2, y2 in pixels of the stored frames, 0-based, the last row and column included;
    ``score_R`` float64: the highest evidence in the region; ``source_R`` int64: which network shows most of that.
    """

    frame_R: NDArray[np.int64]
    box_R4: NDArray[np.int64]
    score_R: NDArray[np.float64]
    source_R: NDArray[np.int64]

    @classmethod
    def join(cls, parts: Iterable[Self]) -> Self:
        """Return the regions of successive pieces of a video as those of one."""
        listed = [cls.none(), *parts]
        return cls(
            frame_R=np.concatenate([part.frame_R for part in listed]),
            box_R4=np.concatenate([part.box_R4 for part in listed]),
            score_R=np.concatenate([part.score_R for part in listed]),
            source_R=np.concatenate([part.source_R for part in listed]),
        )

    @classmethod
    def none(cls) -> Self:
        """Return no regions."""
        empty: NDArray[np.int64] = np.zeros(0, np.int64)
        return cls(frame_R=empty, box_R4=empty.reshape(0, 4), score_R=np.zeros(0), source_R=empty)


@dataclass(frozen=True, kw_only=True)
class RegionRule:
    """What turns the maps of one tap into regions; everything in it was learnt from normal training windows."""

    detector: Detector = field(repr=False)
    tap: TapName
    weights: Mapping[str, float]
    """What each network's map counts, in the order of ``Regions.source_R``."""
    level: float
    """Evidence from which a place belongs to a region."""
    threshold: float
    """Score from which a region is an alarm: score >= threshold."""
    min_area: float
    """Share of the frame that a region covers at least."""

    def to_dict(self) -> dict[str, Any]:
        """Return what it consists of, plain JSON."""
        return {
            "level": self.level,
            "threshold": self.threshold,
            "min_area": self.min_area,
            "weights": dict(self.weights),
        }

    def find(self, frame_index_N: NDArray[np.int64], maps: Mapping[Any, Array]) -> Regions:
        """Return the regions in the maps (N, h, w) of some frames of a video; see :class:`scoring.measure.Measured`."""
        starts = range(0, len(frame_index_N), FRAMES_AT_ONCE)
        return Regions.join(self._find(frame_index_N, maps, slice(start, start + FRAMES_AT_ONCE)) for start in starts)

    def _find(self, frame_index_N: NDArray[np.int64], maps: Mapping[Any, Array], rows: slice) -> Regions:
        parts_KNhw = np.stack([weight * self._evidence(name, maps[name][rows]) for name, weight in self.weights.items()])
        sum_Nhw = parts_KNhw.sum(0)
        label_Nhw, count = components(sum_Nhw, self.level)
        if not count:
            return Regions.none()
        number_R = np.arange(1, count + 1)
        cells = int(np.ceil(self.min_area * sum_Nhw[0].size))
        large_R = np.bincount(label_Nhw.ravel(), minlength=count + 1)[1:] >= cells
        slices = [place for place, large in zip(ndimage.find_objects(label_Nhw), large_R, strict=True) if large]
        share_KR = np.stack([ndimage.maximum(part_Nhw, label_Nhw, number_R[large_R]) for part_Nhw in parts_KNhw])
        edge_R4 = [(x.start, y.start, x.stop, y.stop) for _, y, x in slices]
        box_R4 = CELL * np.array(edge_R4, np.int64).reshape(-1, 4)
        box_R4[:, 2:] -= 1
        return Regions(
            frame_R=frame_index_N[rows][[place[0].start for place in slices]].astype(np.int64),
            box_R4=box_R4,
            score_R=np.asarray(ndimage.maximum(sum_Nhw, label_Nhw, number_R[large_R]), np.float64),
            source_R=np.asarray(share_KR.argmax(0), np.int64),
        )

    def _evidence(self, name: str, ratio_Nhw: Array) -> NDArray[np.float64]:
        return evidence(self.detector.calibrate(self.tap, name, ratio_Nhw.astype(np.float64)))


def components(score_Nhw: NDArray[np.float64], level: float) -> tuple[NDArray[np.int32], int]:
    """Return the number of the region of each cell (0 = none), and how many there are; frames are never joined."""
    label_Nhw, count = ndimage.label(score_Nhw >= level, IN_FRAME)
    if count:
        peak_R = np.append(np.inf, ndimage.maximum(score_Nhw, label_Nhw, np.arange(1, count + 1)))
        label_Nhw, count = ndimage.label(score_Nhw >= np.maximum(level, PEAK_SHARE * peak_R)[label_Nhw], IN_FRAME)
    return label_Nhw, int(count)


def region_rule(detector: Detector, protocol: Protocol, settings: EvalSettings) -> RegionRule | None:
    """Return how the maps of a protocol's tap become regions.

    None under a protocol whose scores do not compare with those of training video (min-max per test video), and for a
    detector that does not know its training windows. Level and threshold are those of the worst place of all maps together
    in training windows; of a detector that knows each map's worst place only, those of their sum, which is never below.
    """
    if protocol.per_video:
        return None
    tap = protocol.tap
    weights = or_equal(
        {
            name: detector.fusion_weight(tap, name)
            for name in detector.indicators
            if detector.normal_values(tap, f"{name}_peak") is not None
        }
    )
    if not weights:
        return None
    peak_W = detector.normal_values(tap, "map_peak")
    if peak_W is None:
        peak_W = normal_evidence(detector, tap, weights, suffix="_peak")
    assert peak_W is not None  # each of its parts is known
    return RegionRule(
        detector=detector,
        tap=tap,
        weights=weights,
        level=tail_threshold(peak_W, settings.region_rate),
        threshold=tail_threshold(peak_W, settings.false_alarm_rate),
        min_area=settings.region_min_area,
    )


def stored_size(maps: Mapping[Any, Array]) -> tuple[int, int]:
    """Return height and width of the stored frames whose maps (N, h, w) these are, pixels."""
    height, width = next(iter(maps.values())).shape[1:]
    return CELL * height, CELL * width


def in_original(regions: Regions, record: VideoRecord, size: tuple[int, int]) -> Detections:
    """Return the regions in pixels of the video itself, which hold every pixel that has a part in them."""
    scale_4 = np.tile([record.width / size[1], record.height / size[0]], 2)
    box_R4 = np.empty((len(regions.frame_R), 4))
    box_R4[:, :2] = np.floor(regions.box_R4[:, :2] * scale_4[:2])
    box_R4[:, 2:] = np.ceil((regions.box_R4[:, 2:] + 1) * scale_4[2:]) - 1
    return Detections(frame_D=regions.frame_R, box_D4=box_R4, score_D=regions.score_R)
