"""One test video through the model, piece by piece, so that a long one needs no more memory than a short one."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.config import CLIP_FRAMES
from pipeline.contract import Array, DataError, Inputs, VideoRecord
from scoring.baselines import motion_rows
from scoring.protocols import TapName

if TYPE_CHECKING:  # the class below needs torch; what scores are made of does not
    from trainer.indicators import Measurement, TapValues

PIECE_FRAMES = 256
Take = Callable[[TapName, "Measured"], None]
CONTEXT_FRAMES = CLIP_FRAMES
"""What a piece needs before it: 15 frames for its first window, and one from which motion arrived in the first of those."""


class Detector(Protocol):
    """What scoring needs of a model bundle (:class:`trainer.bundle.Bundle`)."""

    @property
    def indicators(self) -> tuple[str, ...]:
        """Names of the indicators that it has."""

    def measure(
        self,
        frames_THWC: Array,
        flow_T2HW: Array,
        feature_TD: Array | None = None,
        *,
        batch_size: int = 8,
        wanted: slice = slice(None),
    ) -> "Measurement":
        """Measure every indicator on consecutive frames; those that are not ``wanted`` only give windows context."""

    def calibrate(self, tap: TapName, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return z-scores against normal training video."""

    def fusion_weight(self, tap: TapName, name: str) -> float:
        """Return what an indicator is worth, 0..1, learnt without a label."""

    def normal_values(self, tap: TapName, name: str) -> NDArray[np.float64] | None:
        """Return what normal training windows measure when taken for new video, (W,), None where that is not known."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one tap measures on a whole video: see :class:`trainer.indicators.TapValues`."""

    frame_index_N: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    maps: dict[str, NDArray[np.float16]] = field(repr=False)
    """(N, h, w) each, one cell per 4 x 4 pixels. ``spatial``, ``temporal``: how many times more error than training shows
    at that place. ``motion``, where there is such a network: -ln of the probability that motion there is normal.
    ``objects``, where the detector judges them: how far the object there is from normal ones, in units of how far these are
    from each other."""


def measure_video(
    detector: Detector,
    inputs: Inputs,
    record: VideoRecord,
    *,
    batch_size: int,
    piece_frames: int = PIECE_FRAMES,
    mapped: Collection[TapName] = ("centre", "last"),
    take: Take | None = None,
) -> tuple[dict[TapName, Measured], NDArray[np.float64]]:
    """Measure a test video at both taps, and the motion in it (P, M) for the trivial baselines.

    ``mapped`` are the taps of which maps are kept: with several kilobytes per frame they are most of what is in memory.
    ``take`` is given each piece of each tap, with its maps, before they are dropped; pieces of a tap follow each other.

    Raises
    ------
    DataError
        The video has fewer frames than a clip, or its arrays do not fit the model.
    """
    refuse_short(record)
    parts: dict[TapName, list[Measured]] = {"centre": [], "last": []}
    motion = []
    for start, stop in pieces(record.num_frames, piece_frames):
        first, end = max(0, start - CONTEXT_FRAMES), min(record.num_frames, stop + CLIP_FRAMES)
        frames_NHWC = inputs.read("frames", "frames", record, first, end)
        flow_P2HW = inputs.read("flows", "flow", record, first, end - 1)
        feature_ND = None
        if "semantic" in detector.indicators:
            feature_ND = inputs.read("features-normal", "normal", record, first, end)
        wanted = slice(start - first, stop - first)
        try:
            measurement = detector.measure(frames_NHWC, flow_P2HW, feature_ND, batch_size=batch_size, wanted=wanted)
        except DataError as error:
            raise DataError(f"test video {record.id}: {error}") from error
        for tap, part in parts.items():
            rows = rows_between(measurement.taps[tap], first, start, stop)
            if take is not None:
                take(tap, rows)
            part.append(rows if tap in mapped else replace(rows, maps={}))
        pairs = slice(start - first, min(stop, record.num_frames - 1) - first)
        motion.append(motion_rows(frames_NHWC[pairs.start : pairs.stop + 1], flow_P2HW[pairs]))
    return {tap: _join(part) for tap, part in parts.items()}, np.concatenate(motion)


def refuse_short(record: VideoRecord) -> None:
    """Raise DataError for a video of fewer frames than a clip: no window fits into it, so it can have no score."""
    if record.num_frames < CLIP_FRAMES:
        raise DataError(
            f"test video {record.id}: expected at least {CLIP_FRAMES} frames (one clip), found {record.num_frames}; "
            f"take it out of the dataset or replace it by a longer one ({record.video.files[0]})"
        )


def pieces(num_frames: int, piece_frames: int = PIECE_FRAMES) -> Iterator[tuple[int, int]]:
    """Yield start and stop of the pieces in which a video is measured."""
    for start in range(0, num_frames, piece_frames):
        yield start, min(start + piece_frames, num_frames)


def rows_between(values: "TapValues", first: int, start: int, stop: int) -> Measured:
    """Keep the rows of frames ``start`` to ``stop``; those around them only gave their windows context."""
    frame_index_N = values.frame_index_N + first
    row_N = (frame_index_N >= start) & (frame_index_N < stop)
    return Measured(
        frame_index_N=frame_index_N[row_N],
        values={name: value_N[row_N] for name, value_N in values.values.items()},
        maps={name: map_Nhw[row_N] for name, map_Nhw in values.maps.items()},
    )


def _join(parts: list[Measured]) -> Measured:
    return Measured(
        frame_index_N=np.concatenate([part.frame_index_N for part in parts]),
        values={name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values},
        maps={name: np.concatenate([part.maps[name] for part in parts]) for name in parts[0].maps},
    )
