"""A detector without networks, and test videos that say what it will find in them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import CLIP_FRAMES, Config
from pipeline.contract import Array, Labels, Split, Video, VideoRecord
from trainer.indicators import TAPS, Measurement, Tap, TapValues, scored_frames

HEIGHT, WIDTH = 32, 48
WEIGHTS = {"spatial": 1.0, "spatial_frame_mse": 0.5, "temporal": 0.8, "temporal_frame_mse": 0.4, "semantic": 0.2}


class MadeDetector:
    """Finds the mean grey of a window for its spatial error, flow for its temporal and feature 0 for its semantic one."""

    def __init__(self, indicators: tuple[str, ...] = ("spatial", "temporal", "semantic")) -> None:
        self.indicators = indicators
        self.broken: dict[str, float] = {}
        self.weights = dict(WEIGHTS)
        self.windows: int = 400
        """Normal training windows that it knows of; 0 = none."""

    def measure(
        self,
        frames_THWC: Array,
        flow_T2HW: Array,
        feature_TD: Array | None = None,
        *,
        batch_size: int = 8,
        wanted: slice = slice(None),
    ) -> Measurement:
        grey_T = frames_THWC.mean((1, 2, 3)) / 255
        motion_T = np.abs(flow_T2HW).mean((1, 2, 3), dtype=np.float64)
        motion_T = np.concatenate([motion_T[:1], motion_T])
        return Measurement(taps={tap: self._tap(tap, grey_T, motion_T, feature_TD, wanted) for tap in TAPS})

    def _tap(
        self, tap: Tap, grey_T: Array, motion_T: Array, feature_TD: Array | None, wanted: slice
    ) -> TapValues:
        frame_index_N = scored_frames(tap, len(grey_T), wanted)
        shift = CLIP_FRAMES - 1 - TAPS[tap]
        window_N = np.array([_window_mean(grey_T, frame + shift) for frame in frame_index_N])
        values = {
            "spatial": window_N + 0.01,
            "spatial_frame_mse": (window_N + 0.01) / 10,
            "temporal": motion_T[frame_index_N] + 0.01,
            "temporal_frame_mse": (motion_T[frame_index_N] + 0.01) / 10,
        }
        if feature_TD is not None:
            values["semantic"] = feature_TD[frame_index_N, 0].astype(np.float64)
        for name, value in self.broken.items() if len(frame_index_N) else ():
            values[name][-1] = value
        maps = np.ones((len(frame_index_N), HEIGHT // 4, WIDTH // 4), np.float16)
        maps[:, 2:4, 3:6] += 4 * values["spatial"][:, None, None].astype(np.float16)
        return TapValues(frame_index_N=frame_index_N, values=values, maps={"spatial": maps, "temporal": maps * 2})

    def calibrate(self, tap: Tap, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((values if name == "semantic" else np.log10(values) + 1.5) / 0.2)

    def fusion_weight(self, tap: Tap, name: str) -> float:
        return self.weights[name]

    def normal_values(self, tap: Tap, name: str) -> NDArray[np.float64] | None:
        """Windows whose z-scores are a standard normal distribution, and 1 higher at the peak of a map."""
        base = name.removesuffix("_peak")
        if not self.windows or base not in self.weights or (base == "semantic" and base != name):
            return None
        random = np.random.default_rng([len(base), ord(base[0])])
        z_W = random.normal(0, 1, self.windows) + (base != name)
        return np.asarray(0.2 * z_W if base == "semantic" else 10 ** (0.2 * z_W - 1.5))


def _window_mean(grey_T: Array, last: int) -> float:
    frame_W = np.clip(np.arange(last - CLIP_FRAMES + 1, last + 1), 0, None)
    return float(grey_T[frame_W].mean())


class MadeInputs:
    """The :class:`pipeline.contract.Inputs` of a test split that was never stored."""

    def __init__(self, videos: Mapping[str, int], anomalous: Mapping[str, range | None], folder: Path = Path()) -> None:
        self.records = [make_record(name, frames) for name, frames in videos.items()]
        self.anomalous = anomalous
        self._folder = folder

    def videos(self, split: Split | None = None) -> Sequence[VideoRecord]:
        return [record for record in self.records if split in (None, record.split)]

    def read(self, stage: str, name: str, record: VideoRecord, start: int = 0, stop: int | None = None) -> Array:
        made: dict[str, Callable[[VideoRecord, range], Array]] = {
            "frames": make_frames,
            "flow": make_flow,
            "normal": make_features,
        }
        return made[name](record, self.anomalous.get(record.id) or range(0))[start:stop]

    def labels(self, record: VideoRecord) -> Labels | None:
        anomalous = self.anomalous[record.id]
        if anomalous is None:
            return None
        return Labels(frame_T=np.isin(np.arange(record.num_frames), anomalous), source="made-up labels")

    def folder(self, stage: str) -> Path:
        return self._folder


def make_record(name: str, frames: int) -> VideoRecord:
    return VideoRecord(
        video=Video(id=name, split="test", files=(Path(f"{name}.avi"),)),
        num_frames=frames,
        height=HEIGHT,
        width=WIDTH,
        fps=25.0,
        digest="0123",
    )


def make_frames(record: VideoRecord, anomalous: range) -> NDArray[np.uint8]:
    """Noise of a level that rises inside the anomalous stretch."""
    random = np.random.default_rng(len(record.id) + record.num_frames)
    level_T = 20 + 100 * np.isin(np.arange(record.num_frames), anomalous)
    noise_THWC = random.integers(0, 20, (record.num_frames, HEIGHT, WIDTH, 1))
    return (level_T[:, None, None, None] + noise_THWC).astype(np.uint8)


def make_flow(record: VideoRecord, anomalous: range) -> NDArray[np.float16]:
    random = np.random.default_rng(record.num_frames)
    speed_P = 0.5 + 2.0 * np.isin(np.arange(1, record.num_frames), anomalous)
    noise_P2HW = random.normal(0, 0.3, (record.num_frames - 1, 2, HEIGHT, WIDTH))
    return (speed_P[:, None, None, None] + noise_P2HW).astype(np.float16)


def make_features(record: VideoRecord, anomalous: range) -> NDArray[np.float16]:
    random = np.random.default_rng(record.num_frames + 1)
    return random.normal(0, 1, (record.num_frames, 5)).astype(np.float16)


def make_config(**settings: Any) -> Config:
    return Config.model_validate({"dataset": {"name": "made-up"}, "eval": settings})


def silent(what: str, done: float, total: float) -> None:
    """Report to nobody."""
