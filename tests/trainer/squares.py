"""A made-up street: squares that cross a textured ground at a steady pace, with everything the stages before would store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import TrainSettings
from pipeline.contract import Array, Labels, Split, Video, VideoRecord

HEIGHT, WIDTH, SIDE = 32, 48, 8
FEATURES = 6

SMALL: dict[str, Any] = {
    "epochs": 1.5,
    "batch_size": 4,
    "width": 0.1,
    "calibration_windows": 16,
    "discriminator_epochs": 3,
    "device": "cpu",
}


def small_settings(**changes: Any) -> TrainSettings:
    return TrainSettings.model_validate(SMALL | changes)


@dataclass(frozen=True)
class Street:
    """The stored arrays of one video of ``frames`` frames whose square moves ``speed`` pixels per frame, to the right."""

    record: VideoRecord
    arrays: dict[tuple[str, str], Array]


def make_street(
    name: str,
    *,
    frames: int = 40,
    speed: Callable[[int], float] = lambda frame: 1.0,
    seed: int = 0,
    split: Split = "train",
    channels: int = 3,
    masked: bool = True,
) -> Street:
    """Draw one video; ``speed(i)`` is that from frame i to i + 1."""
    random = np.random.default_rng([seed, frames])
    ground_HW = 60 + 20 * np.random.default_rng(7).random((HEIGHT, WIDTH))  # one camera: the same ground in every video
    left_T = random.integers(0, WIDTH) + np.concatenate([[0], np.cumsum([speed(i) for i in range(frames - 1)])])
    mask_THW = np.stack([_square(left) for left in left_T])
    frames_THW = np.where(mask_THW, 200, ground_HW) + random.normal(0, 1, mask_THW.shape)
    image_THW = np.where(mask_THW, random.integers(0, 255, mask_THW.shape), frames_THW)
    flow_T2HW = random.normal(0, 0.02, (frames - 1, 2, HEIGHT, WIDTH))
    for i in range(frames - 1):
        flow_T2HW[i, 0][mask_THW[i]] += speed(i)
    object_T = np.zeros(frames, np.int32) if masked else np.full(frames, -1, np.int32)
    normal_TD = random.normal(0, 1, (frames, FEATURES))
    record = VideoRecord(
        video=Video(id=name, split=split, files=(Path(f"{name}.avi"),)),
        num_frames=frames,
        height=HEIGHT,
        width=WIDTH,
        fps=25.0,
        digest=f"{seed:08x}",
    )
    arrays: dict[tuple[str, str], Array] = {
        ("frames", "frames"): _pixels(frames_THW, channels),
        ("flows", "flow"): flow_T2HW.astype(np.float16),
        ("masks", "mask"): mask_THW & masked,
        ("masks", "object"): object_T,
        ("inpaint", "image"): _pixels(image_THW if masked else frames_THW, channels),
        ("features-normal", "normal"): normal_TD.astype(np.float16),
        ("features", "spatial_pa"): (normal_TD + 2.0).astype(np.float16),
    }
    return Street(record, arrays)


def make_training(videos: int = 3, **changes: Any) -> "MadeInputs":
    """Return the inputs of a training split."""
    return MadeInputs([make_street(f"street-{seed}", seed=seed, **changes) for seed in range(videos)])


class MadeInputs:
    """The :class:`pipeline.contract.Inputs` of videos that were never stored."""

    def __init__(self, streets: Sequence[Street]) -> None:
        self.streets = {street.record: street for street in streets}

    def videos(self, split: Split | None = None) -> Sequence[VideoRecord]:
        return [record for record in self.streets if split in (None, record.split)]

    def read(self, stage: str, name: str, record: VideoRecord, start: int = 0, stop: int | None = None) -> Array:
        return self.streets[record].arrays[stage, name][start:stop].copy()

    def labels(self, record: VideoRecord) -> Labels | None:
        return None

    def folder(self, stage: str) -> Path:
        raise LookupError(stage)


def silent(what: str, done: float, total: float) -> None:
    """Report to nobody."""


def _square(left: float) -> NDArray[np.bool_]:
    mask_HW = np.zeros((HEIGHT, WIDTH), np.bool_)
    columns = (round(left) + np.arange(SIDE)) % WIDTH
    mask_HW[12 : 12 + SIDE, columns] = True
    return mask_HW


def _pixels(grey_THW: NDArray[np.float64], channels: int) -> NDArray[np.uint8]:
    grey_THW1 = np.clip(grey_THW, 0, 255).astype(np.uint8)[..., None]
    return np.repeat(grey_THW1, channels, axis=-1)
