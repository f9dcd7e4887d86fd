"""The data path: the training split in memory once, then clips of 16 gathered from it on the device."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import CLIP_FRAMES, ConfigError, TrainSettings
from pipeline.contract import DataError, Inputs, Report, VideoRecord
from trainer.normalise import arriving_flow, reduce_pictures, to_channels
from trainer.seeds import Seed

MEMORY_SHARE = 0.7  # of what is free: the networks and their activations need room too
FLOW_PERCENTILE = 99.9
FLOW_HEADROOM = 2.0  # twice the fastest normal motion still lies within reach of Tanh
SMALLEST_FLOW_SCALE = 0.1  # pixels per frame; a street without motion must not turn its noise into motion
SAMPLED_FRAMES = 400  # enough for a percentile: each has thousands of pixels


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """All training videos end to end, N frames in all, as small as ``train.reduce`` makes them.

    On the device: ``frames_NHWC`` uint8 with the channels the spatial autoencoder sees, ``image_NHWC`` alike (spatial
    pseudo-anomalies), ``flow_NHW2`` float16 in pixels per frame (see ``arriving_flow``), ``mask_NHW`` bool.
    On the CPU, where clips are chosen: the rest.
    """

    frames_NHWC: Tensor = field(repr=False)
    image_NHWC: Tensor = field(repr=False)
    flow_NHW2: Tensor = field(repr=False)
    mask_NHW: Tensor = field(repr=False)
    object_N: NDArray[np.int64] = field(repr=False)
    """Which object the mask covers; -1 = none."""
    centre_N2: NDArray[np.float64] = field(repr=False)
    """Row and column of the mask's centre, pixels; NaN where there is none."""
    origin_N: NDArray[np.int64] = field(repr=False)
    """The frame whose mask belongs to flow element n: the one before (motion is stored where it starts)."""
    start_C: NDArray[np.int64] = field(repr=False)
    """First frames of all clips."""
    flow_scale: float

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width in pixels."""
        return self.frames_NHWC.shape[1], self.frames_NHWC.shape[2]


def load_training_data(inputs: Inputs, settings: TrainSettings, device: torch.device, report: Report) -> TrainingData:
    """Read the training split into memory.

    Raises
    ------
    DataError
        There is no training video, one is shorter than a clip, or pseudo-anomalies are wanted and no frame has a mask.
    ConfigError
        The data exceed the memory that is free.
    """
    records = inputs.videos("train")
    check_lengths(records)
    lengths = [record.num_frames for record in records]
    first = inputs.read("frames", "frames", records[0], 0, 1)
    height, width = (side // settings.reduce for side in first.shape[1:3])
    channels = 1 if settings.colour == "grey" else 3
    check_memory(training_bytes(sum(lengths), height, width, channels), device)
    shape = (sum(lengths), height, width)
    data: dict[str, Tensor] = {
        "frames_NHWC": torch.empty((*shape, channels), dtype=torch.uint8, device=device),
        "image_NHWC": torch.empty((*shape, channels), dtype=torch.uint8, device=device),
        "flow_NHW2": torch.empty((*shape, 2), dtype=torch.float16, device=device),
        "mask_NHW": torch.empty(shape, dtype=torch.bool, device=device),
    }
    objects = []
    offset = 0
    for done, record in enumerate(records):
        report("reading training data", done, len(records))
        rows = slice(offset, offset + record.num_frames)
        for name, sequence in _read_video(inputs, record, settings).items():
            data[name][rows] = sequence.to(device)
        objects.append(np.asarray(inputs.read("masks", "object", record), dtype=np.int64))
        offset += record.num_frames
    report("reading training data", len(records), len(records))
    indexed = index_clips(data, np.concatenate(objects), lengths, settings.flow_scale)
    if max(settings.p_s, settings.p_t) > 0 and not np.isfinite(indexed.centre_N2).any():
        raise DataError(
            "no training frame has a mask, so that no pseudo-anomaly can be made; set masks.source = random, "
            "or train.p_s = 0 and train.p_t = 0 to go without"
        )
    return indexed


def index_clips(
    data: dict[str, Tensor], object_N: NDArray[np.int64], lengths: Sequence[int], flow_scale: float | None
) -> TrainingData:
    """Return training data with the index of its clips: every start within a video is one."""
    offsets = np.cumsum(lengths) - lengths
    starts = [offset + np.arange(length - CLIP_FRAMES + 1) for offset, length in zip(offsets, lengths, strict=True)]
    before = [offset + np.maximum(np.arange(length) - 1, 0) for offset, length in zip(offsets, lengths, strict=True)]
    return TrainingData(
        **data,
        object_N=object_N,
        centre_N2=_centres(data["mask_NHW"], object_N),
        origin_N=np.concatenate(before),
        start_C=np.concatenate(starts),
        flow_scale=flow_scale or estimate_flow_scale(data["flow_NHW2"]),
    )


def estimate_flow_scale(flow_NHW2: Tensor) -> float:
    """Return twice the 99.9th percentile of flow magnitude, pixels per frame, over evenly spaced frames."""
    step = max(1, len(flow_NHW2) // SAMPLED_FRAMES)
    magnitude = flow_NHW2[::step].float().norm(dim=-1).flatten()
    rank = max(1, round(len(magnitude) * FLOW_PERCENTILE / 100))
    return max(SMALLEST_FLOW_SCALE, FLOW_HEADROOM * float(magnitude.kthvalue(rank).values))


def check_lengths(records: Sequence[VideoRecord]) -> None:
    """Raise DataError unless there are videos and each holds at least one clip."""
    if not records:
        raise DataError("expected at least one training video, found none; see dataset.root and stpa status")
    short = [f"{record.id} ({record.num_frames})" for record in records if record.num_frames < CLIP_FRAMES]
    if short:
        raise DataError(f"training videos need at least {CLIP_FRAMES} frames (one clip); too short: {', '.join(short)}")


def training_bytes(frames: int, height: int, width: int, channels: int) -> int:
    """Return what the training data occupy: frames and images uint8, flow 2 x float16, masks bool."""
    return frames * height * width * (2 * channels + 4 + 1)


def check_memory(needed: int, device: torch.device) -> None:
    """Raise ConfigError if ``needed`` bytes exceed the share of free memory that data may take."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    if needed > MEMORY_SHARE * free:
        raise ConfigError(
            f"the training data need {needed / 2**30:.1f} GiB of memory on {device}, of which {free / 2**30:.1f} GiB are "
            f"free (at most {MEMORY_SHARE:.0%} of that is used); lower frames.height and frames.width, or use fewer videos"
        )


def free_memory() -> int:
    """Return free bytes of main memory, as far as the system tells (2**62 where it does not)."""
    free = 2**62
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")  # a container may be allowed less than the machine has
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        free = min(free, limit - int((group / "memory.current").read_text(encoding="ascii")))
    return free


class ClipOrder:
    """Which clips each step takes: epoch after epoch, all of them, each epoch in an order of its own.

    It depends on nothing but the seed, so a run can be taken up at any step.
    """

    def __init__(self, start_C: NDArray[np.int64], batch_size: int, seed: Seed) -> None:
        self._start_C = start_C
        self._batch_size = batch_size
        self._seed = seed
        self._orders: dict[int, NDArray[np.int64]] = {}

    def __call__(self, step: int) -> NDArray[np.int64]:
        """Return the first frames of the clips of one step, (B,)."""
        position_B = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        epoch_B, rank_B = np.divmod(position_B, len(self._start_C))
        epochs = {int(epoch) for epoch in epoch_B}
        self._orders = {epoch: self._orders[epoch] if epoch in self._orders else self._draw(epoch) for epoch in epochs}
        return np.array([self._orders[int(epoch)][rank] for epoch, rank in zip(epoch_B, rank_B, strict=True)])

    def _draw(self, epoch: int) -> NDArray[np.int64]:
        return self._seed.generator("order", epoch).permutation(self._start_C)


def _read_video(inputs: Inputs, record: VideoRecord, settings: TrainSettings) -> dict[str, Tensor]:
    sequences = {
        "frames_NHWC": to_channels(torch.from_numpy(inputs.read("frames", "frames", record)), settings.colour),
        "flow_NHW2": arriving_flow(torch.from_numpy(inputs.read("flows", "flow", record))),
        "mask_NHW": torch.from_numpy(inputs.read("masks", "mask", record))[..., None],
        "image_NHWC": to_channels(torch.from_numpy(inputs.read("inpaint", "image", record)), settings.colour),
    }
    reduced = {name: reduce_pictures(sequence, settings.reduce) for name, sequence in sequences.items()}
    return reduced | {"mask_NHW": reduced["mask_NHW"][..., 0]}


def _centres(mask_NHW: Tensor, object_N: NDArray[np.int64]) -> NDArray[np.float64]:
    centre_N2 = np.full((len(object_N), 2), np.nan)
    for index in np.flatnonzero(object_N >= 0):
        pixels = mask_NHW[index].nonzero()
        if len(pixels):
            centre_N2[index] = pixels.double().mean(0).cpu().numpy()
    return centre_N2
