"""Frames in, scores out, while a video goes on: what the stages would store is made on the fly and forgotten again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import CLIP_FRAMES, EvalSettings
from pipeline.contract import Array, DataError, Video, VideoRecord
from pipeline.models.encoders import open_encoder
from pipeline.stages.prepare import model_frames, open_flow
from scoring.live.sources import Block, Frames
from scoring.live.watch import Watch, network_names, with_watch
from scoring.measure import CONTEXT_FRAMES, Measured, rows_between
from scoring.protocols import DEPLOYMENT
from scoring.regions import Regions, in_original, region_rule
from scoring.scores import FUSED, score_frames
from scoring.threshold import alarm_threshold
from trainer.bundle import Bundle
from trainer.inputs import BundleInputs

PIECE_FRAMES = 128
"""Of files: the windows of 16 frames before each piece are measured twice, and scores are on disk after so many frames."""
NETWORKS = "networks"  # the whole of measuring; what is not in a network is told as the rest


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Successive frames with their scores, and the regions in them.

    ``frame_N`` (N,) int64, ``time_N`` seconds (NaN = unknown); ``scores``: each indicator and ``fused``, (N,) float64,
    higher = more abnormal; ``alarm_N`` bool, None where the bundle knows no threshold. ``box_R4`` (R, 4) are x1, y1, x2, y2
    in pixels of the video itself, the last row and column included; ``region_alarm_R`` bool; ``source_R`` names the network
    that shows most. ``maps``: (N, h, w) of each network, times the error that training shows at a place.
    """

    frame_N: NDArray[np.int64]
    time_N: NDArray[np.float64]
    scores: dict[str, NDArray[np.float64]]
    alarm_N: NDArray[np.bool_] | None
    region_frame_R: NDArray[np.int64]
    box_R4: NDArray[np.float64]
    region_score_R: NDArray[np.float64]
    region_alarm_R: NDArray[np.bool_]
    source_R: list[str]
    maps: Mapping[Any, Array] = field(repr=False)


class Preparation:
    """Makes of native frames what the bundle was trained on, as the stages frames, flows and features do."""

    def __init__(self, inputs: BundleInputs, device: str, *, semantic: bool) -> None:
        self._inputs = inputs
        inputs.check_flow()
        self._flow = open_flow(inputs.flows.model_copy(update={"device": device}), inputs.frames)
        self._encode = None
        if semantic:
            inputs.check_encoder()
            self._encode = open_encoder(inputs.features.model_copy(update={"device": device}))

    @property
    def encodes(self) -> bool:
        """Return whether the bundle uses features."""
        return self._encode is not None

    def frames(self, native_THWC: Frames) -> Frames:
        """Return frames at model resolution, (T, H, W, C) uint8."""
        return model_frames(native_THWC, self._inputs.frames)

    def flow(self, native_THWC: Frames, frames_THWC: Frames) -> NDArray[np.float16]:
        """Return flow between consecutive frames, (T-1, 2, H, W), of whichever of the two it was trained on."""
        return self._flow(native_THWC if self._inputs.flows.source == "video" else frames_THWC)

    def features(self, frames_THWC: Frames) -> NDArray[np.float16] | None:
        """Return the frames' features, (T, D); None for a bundle that uses none."""
        return None if self._encode is None else self._encode(frames_THWC).astype(np.float16)


@dataclass
class _Stretch:
    """Frames in a row, ready for the bundle: context, and behind it those that wait for their score."""

    first: int
    size: tuple[int, int]
    last_native_HWC: Frames = field(repr=False)
    frames_THWC: Frames = field(repr=False)
    flow_T2HW: NDArray[np.float16] = field(repr=False)
    feature_TD: NDArray[np.float16] | None = field(repr=False)
    time_T: NDArray[np.float64] = field(repr=False)
    scored: int = 0
    """How many of these frames have their score already."""

    @property
    def waiting(self) -> int:
        return len(self.frames_THWC) - self.scored

    def forget(self) -> None:
        """Keep no more than the context of the frames to come; all there are have been scored."""
        gone = max(0, len(self.frames_THWC) - CONTEXT_FRAMES)
        self.frames_THWC = self.frames_THWC[gone:].copy()
        self.flow_T2HW = self.flow_T2HW[gone:].copy()
        self.feature_TD = None if self.feature_TD is None else self.feature_TD[gone:].copy()
        self.time_T = self.time_T[gone:].copy()
        self.first += gone
        self.scored = len(self.frames_THWC)


class LiveScorer:
    """Scores videos one after another under the protocol ``deployment``: every frame, from past frames only."""

    def __init__(
        self, bundle: Bundle, preparation: Preparation, settings: EvalSettings, watch: Watch,
        piece_frames: int = PIECE_FRAMES,
    ) -> None:
        self._bundle, self._preparation, self._settings, self._watch = bundle, preparation, settings, watch
        self._timed = with_watch(bundle, watch)
        self._piece_frames = piece_frames
        self._rule = region_rule(bundle, DEPLOYMENT, settings)
        self.threshold = alarm_threshold(bundle, DEPLOYMENT, settings.pooling, settings.false_alarm_rate)
        self.region_threshold = self._rule.threshold if self._rule else None
        self._stretch: _Stretch | None = None
        self.too_short = 0
        """Frames without a score, because a gap in a stream left fewer than a clip in a row."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the scores: the bundle's indicators and the fused score."""
        return (*self._bundle.indicators, FUSED)

    @property
    def networks(self) -> tuple[str, ...]:
        """Return the names under which networks are timed."""
        return network_names(self._bundle)

    def push(self, block: Block) -> Iterator[Scored]:
        """Take frames, and yield scores when enough of them are there."""
        if block.fresh or self._stretch is None or block.frames_THWC.shape[1:3] != self._stretch.size:
            yield from self.finish()
            self._stretch = self._begin(block)
        else:
            self._add(self._stretch, block)
        waits = self._stretch.waiting
        enough = waits >= self._piece_frames or block.urgent
        if enough and len(self._stretch.frames_THWC) >= CLIP_FRAMES:
            yield self._score(self._stretch)

    def finish(self) -> Iterator[Scored]:
        """Yield the scores of what still waits: the video is at its end."""
        stretch, self._stretch = self._stretch, None
        if stretch is None or not stretch.waiting:
            return
        if len(stretch.frames_THWC) >= CLIP_FRAMES:
            yield self._score(stretch)
        else:
            self.too_short += len(stretch.frames_THWC)

    def forget(self) -> None:
        """Drop what waits: another video follows."""
        self._stretch = None

    def _begin(self, block: Block) -> _Stretch:
        native_THWC = block.frames_THWC
        with self._watch.part("resize"):
            frames_THWC = self._preparation.frames(native_THWC)
        height, width = frames_THWC.shape[1:3]
        flow_T2HW = np.empty((0, 2, height, width), np.float16)
        if len(native_THWC) > 1:
            with self._watch.part("flow"):
                flow_T2HW = self._preparation.flow(native_THWC, frames_THWC)
        return _Stretch(
            first=block.first,
            size=(native_THWC.shape[1], native_THWC.shape[2]),
            last_native_HWC=native_THWC[-1].copy(),  # a view would keep the whole block
            frames_THWC=frames_THWC,
            flow_T2HW=flow_T2HW,
            feature_TD=self._features(frames_THWC),
            time_T=block.time_T,
        )

    def _add(self, stretch: _Stretch, block: Block) -> None:
        with self._watch.part("resize"):
            frames_THWC = self._preparation.frames(block.frames_THWC)
        with self._watch.part("flow"):
            native_THWC = np.concatenate([stretch.last_native_HWC[None], block.frames_THWC])
            joined_THWC = np.concatenate([stretch.frames_THWC[-1:], frames_THWC])
            flow_T2HW = self._preparation.flow(native_THWC, joined_THWC)
        feature_TD = self._features(frames_THWC)
        stretch.last_native_HWC = block.frames_THWC[-1].copy()
        stretch.frames_THWC = np.concatenate([stretch.frames_THWC, frames_THWC])
        stretch.flow_T2HW = np.concatenate([stretch.flow_T2HW, flow_T2HW])
        if feature_TD is not None and stretch.feature_TD is not None:
            stretch.feature_TD = np.concatenate([stretch.feature_TD, feature_TD])
        stretch.time_T = np.concatenate([stretch.time_T, block.time_T])

    def _features(self, frames_THWC: Frames) -> NDArray[np.float16] | None:
        if not self._preparation.encodes:
            return None
        with self._watch.part("encoder"):
            return self._preparation.features(frames_THWC)

    def _score(self, stretch: _Stretch) -> Scored:
        with self._watch.part(NETWORKS):
            measurement = self._timed.measure(
                stretch.frames_THWC, stretch.flow_T2HW, stretch.feature_TD, batch_size=self._settings.batch_size
            )
        start, stop = stretch.first + stretch.scored, stretch.first + len(stretch.frames_THWC)
        measured = rows_between(measurement.taps[DEPLOYMENT.tap], stretch.first, start, stop)
        with self._watch.part("regions"):
            scored = self._judge(measured, stretch.time_T[stretch.scored :], stretch.size)
        stretch.scored = len(stretch.frames_THWC)
        stretch.forget()
        return scored

    def _judge(self, measured: Measured, time_N: NDArray[np.float64], size: tuple[int, int]) -> Scored:
        found = score_frames(measured, DEPLOYMENT, self._bundle, self._settings.pooling).score
        scores = {name: found[name] for name in self.names}
        for name, score_N in scores.items():
            if not np.isfinite(score_N).all():
                frame = measured.frame_index_N[~np.isfinite(score_N)][0]
                raise DataError(f"frame {frame}: expected a finite {name} score, found {score_N.min()}; train again")
        regions = self._rule.find(measured.frame_index_N, measured.maps) if self._rule else Regions.none()
        record = VideoRecord(
            video=Video(id="", split="test", files=()), num_frames=0, height=size[0], width=size[1], fps=0.0, digest=""
        )
        detections = in_original(regions, record, (self._bundle.info.height, self._bundle.info.width))
        names = list(self._rule.weights) if self._rule else []
        return Scored(
            frame_N=measured.frame_index_N,
            time_N=time_N,
            scores=scores,
            alarm_N=None if self.threshold is None else scores[FUSED] >= self.threshold,
            region_frame_R=regions.frame_R,
            box_R4=detections.box_D4,
            region_score_R=regions.score_R,
            region_alarm_R=regions.score_R >= (self.region_threshold or np.inf),
            source_R=[names[source] for source in regions.source_R],
            maps=measured.maps,
        )
