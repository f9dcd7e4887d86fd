"""The data path: the training split, in memory once or read from the cache, and which clips of 16 are taken from it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import CLIP_FRAMES, ConfigError, TrainSettings
from pipeline.contract import DataError, Inputs, Report, VideoRecord
from pipeline.execution import ranks
from trainer.order import split_clips
from trainer.sequences import KINDS, Kind, Pictures, StoredPictures, read_in_pieces

MEMORY_SHARE = 0.7  # of what is free: the networks and their activations need room too
FLOW_PERCENTILE = 99.9
FLOW_HEADROOM = 2.0  # twice the fastest normal motion still lies within reach of Tanh
SMALLEST_FLOW_SCALE = 0.1  # pixels per frame; a street without motion must not turn its noise into motion
SAMPLED_FRAMES = 400  # enough for a percentile: each has thousands of pixels


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """All training videos end to end, N frames in all, as small as ``train.reduce`` makes them.

    In memory (on the device if they fit) or read from the cache: ``frames_NHWC`` uint8 with the channels the spatial
    autoencoder sees, ``image_NHWC`` alike (spatial pseudo-anomalies), ``flow_NHW2`` float16 in pixels per frame (see
    ``arriving_flow``), ``mask_NHW`` bool. In memory of the CPU, where clips are chosen: the rest.
    """

    frames_NHWC: Pictures = field(repr=False)
    image_NHWC: Pictures = field(repr=False)
    flow_NHW2: Pictures = field(repr=False)
    mask_NHW: Pictures = field(repr=False)
    object_N: NDArray[np.int64] = field(repr=False)
    """Which object the mask covers; -1 = none."""
    centre_N2: NDArray[np.float64] = field(repr=False)
    """Row and column of the mask's centre, pixels; NaN where there is none."""
    origin_N: NDArray[np.int64] = field(repr=False)
    """The frame whose mask belongs to flow element n: the one before (motion is stored where it starts)."""
    start_C: NDArray[np.int64] = field(repr=False)
    """First frames of all clips that the autoencoders are fitted to."""
    flow_scale: float
    validation_start_V: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    """First frames of clips of normal video that they are not fitted to; none unless ``train.validation_share`` is set."""

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width in pixels."""
        return self.frames_NHWC.shape[1], self.frames_NHWC.shape[2]

    @property
    def streamed(self) -> bool:
        """Whether clips are read from the cache one by one."""
        return isinstance(self.frames_NHWC, StoredPictures)


def load_training_data(inputs: Inputs, settings: TrainSettings, device: torch.device, report: Report) -> TrainingData:
    """Read the training split into the memory of the device or of the machine, or make ready to read it clip by clip.

    Raises
    ------
    DataError
        There is no training video, one is shorter than a clip, or pseudo-anomalies are wanted and no frame has a mask.
    ConfigError
        ``train.data = memory``, and the data exceed the memory that is free.
    """
    records = inputs.videos("train")
    check_lengths(records)
    place = choose_place(inputs, settings, device)
    objects = np.concatenate([np.asarray(inputs.read("masks", "object", record), np.int64) for record in records])
    lengths = [record.num_frames for record in records]
    if place is None:
        streamed: dict[Kind, Pictures] = {kind: StoredPictures(inputs, settings, kind) for kind in KINDS}
        centre_N2 = _stored_centres(inputs, settings, objects, report)
        indexed = _with_index(streamed, objects, centre_N2, lengths, settings)
    else:
        data = _read_all(inputs, settings, place, report)
        indexed = _with_index(data, objects, _centres(data["mask_NHW"], objects), lengths, settings)
    if not np.isfinite(indexed.centre_N2).any() and _needs_masks(settings):
        raise DataError(
            "no training frame has a mask, so that no pseudo-anomaly can be made; set masks.source = random, "
            "or train.p_s, train.p_t and train.motion_epochs = 0 to go without"
        )
    return indexed


def _needs_masks(settings: TrainSettings) -> bool:
    from trainer.pseudo_anomalies import make_pseudo_anomalies  # which are made of what is loaded here

    if settings.motion_epochs:
        return True
    chances = zip(make_pseudo_anomalies(settings), (settings.p_s, settings.p_t), strict=True)
    return any(chance > 0 and getattr(kind, "needs_masks", True) for kind, chance in chances)


def choose_place(inputs: Inputs, settings: TrainSettings, device: torch.device) -> torch.device | None:
    """Return where the data are held: the device if they fit, else the CPU; None = nowhere, they are streamed.

    Raises
    ------
    ConfigError
        ``train.data = memory``, and they fit nowhere.
    """
    if settings.data == "stream":
        return None
    records = inputs.videos("train")
    first = inputs.read("frames", "frames", records[0], 0, 1)
    height, width = (side // settings.reduce for side in first.shape[1:3])
    frames = sum(record.num_frames for record in records)
    needed = training_bytes(frames, height, width, 1 if settings.colour == "grey" else 3)
    places = dict.fromkeys([device, torch.device("cpu")])
    for place in places:
        if needed <= memory_limit(settings, place):
            return place
    if settings.data == "memory":
        limit = max(memory_limit(settings, place) for place in places)
        raise ConfigError(
            f"the training data need {needed / 2**30:.1f} GiB of memory, of which {limit / 2**30:.1f} GiB may be used on "
            f"{' or '.join(map(str, places))} (train.data_gib, or else {MEMORY_SHARE:.0%} of what is free); set "
            "train.data = stream, lower frames.height and frames.width, or use fewer videos"
        )
    return None


def _read_all(inputs: Inputs, settings: TrainSettings, place: torch.device, report: Report) -> dict[Kind, Tensor]:
    records = inputs.videos("train")
    frames = sum(record.num_frames for record in records)
    data: dict[Kind, Tensor] = {}
    offset = 0
    for done, record in enumerate(records):
        report("reading training data", done, len(records))
        for kind in KINDS:
            for start, rows in read_in_pieces(inputs, record, kind, settings):
                if kind not in data:
                    data[kind] = torch.empty((frames, *rows.shape[1:]), dtype=rows.dtype, device=place)
                data[kind][offset + start : offset + start + len(rows)] = rows.to(place)
        offset += record.num_frames
    report("reading training data", len(records), len(records))
    return data


def _stored_centres(
    inputs: Inputs, settings: TrainSettings, object_N: NDArray[np.int64], report: Report
) -> NDArray[np.float64]:
    """Return the centres of all masks, reading them once, a piece at a time."""
    found, offset = [], 0
    records = inputs.videos("train")
    for done, record in enumerate(records):
        report("reading masks", done, len(records))
        for start, mask_NHW in read_in_pieces(inputs, record, "mask_NHW", settings):
            found.append(_centres(mask_NHW, object_N[offset + start : offset + start + len(mask_NHW)]))
        offset += record.num_frames
    report("reading masks", len(records), len(records))
    return np.concatenate(found)


def _with_index(
    data: Mapping[Kind, Pictures],
    object_N: NDArray[np.int64],
    centre_N2: NDArray[np.float64],
    lengths: Sequence[int],
    settings: TrainSettings,
) -> TrainingData:
    """Return training data with the index of its clips: every start within a video is one."""
    offsets = np.cumsum(lengths) - lengths
    before = [offset + np.maximum(np.arange(length) - 1, 0) for offset, length in zip(offsets, lengths, strict=True)]
    fitted, held_out = split_clips(lengths, settings)
    return TrainingData(
        frames_NHWC=data["frames_NHWC"],
        image_NHWC=data["image_NHWC"],
        flow_NHW2=data["flow_NHW2"],
        mask_NHW=data["mask_NHW"],
        object_N=object_N,
        centre_N2=centre_N2,
        origin_N=np.concatenate(before),
        start_C=fitted,
        validation_start_V=held_out,
        flow_scale=settings.flow_scale or estimate_flow_scale(data["flow_NHW2"]),
    )


def estimate_flow_scale(flow_NHW2: Pictures) -> float:
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


def memory_limit(settings: TrainSettings, place: torch.device) -> float:
    """Return how many bytes of data may be held in the memory of a device."""
    if settings.data_gib is not None:
        return settings.data_gib * 2**30
    if place.type == "cuda":
        return MEMORY_SHARE * torch.cuda.mem_get_info(place)[0]
    return MEMORY_SHARE * free_memory() / ranks.count()  # each process of a machine holds all of them


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


def _centres(mask_NHW: Tensor, object_N: NDArray[np.int64]) -> NDArray[np.float64]:
    centre_N2 = np.full((len(object_N), 2), np.nan)
    for index in np.flatnonzero(object_N >= 0):
        pixels = mask_NHW[index].cpu().nonzero()
        if len(pixels):
            centre_N2[index] = pixels.double().mean(0).numpy()
    return centre_N2
