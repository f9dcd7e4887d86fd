"""From windows of 16 frames to what each frame's reconstruction says: errors per frame, per place and per region."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import CLIP_FRAMES
from trainer.devices import Precision, autocast
from trainer.normalise import blur
from trainer.objects import FrameObjects
from trainer.sequences import Pictures

Tap = Literal["centre", "last"]
TAPS: dict[Tap, int] = {"centre": 8, "last": CLIP_FRAMES - 1}
"""Index of the window's frame that is scored: 8 in the paper's protocol, the newest one in the causal protocol."""

MAP_STRIDE = 4
"""Error maps are averaged over cells of 4 x 4 stored pixels: far smaller than any object, and 16 times less to keep."""


@dataclass(frozen=True, kw_only=True)
class TapValues:
    """What one tap measures on one video; all arrays are N long, in temporal order.

    ``frame_index_N`` int64: which frame of the video each row belongs to: 8..T-8 for ``centre``, 0..T-1 for ``last``.
    ``values`` float64, higher = more abnormal: ``spatial``, ``temporal`` (errors pooled per region, relative to what
    training shows at that place), ``spatial_frame_mse``, ``temporal_frame_mse`` (mean over the whole frame, on -1..1),
    ``motion``, ``motion_frame_mse`` (-ln of the probability that motion is normal, pooled in the same two ways),
    ``semantic`` (logit of the discriminator) and ``objects`` (score of the most unusual object of each frame, mean over the
    window), the last three absent where the bundle has none.
    ``maps`` float16, by indicator: what was pooled, (N, h, w), one cell per 4 x 4 pixels; of ``objects`` the score of the
    most unusual object at each cell of the frame, 0 where there is none.
    """

    frame_index_N: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    maps: dict[str, NDArray[np.float16]] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a bundle measures on one video, at both taps, and the objects in it (None where it does not judge them)."""

    taps: dict[Tap, TapValues]
    objects: FrameObjects | None = None


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Errors of one network at one tap: ``frame_mse_N`` and ``map_Nhw`` (mean per cell), float32, on CPU."""

    frame_mse_N: Tensor
    map_Nhw: Tensor

    def take(self, row_N: NDArray[np.int64]) -> "Errors":
        """Return the errors of some windows."""
        return Errors(frame_mse_N=self.frame_mse_N[row_N], map_Nhw=self.map_Nhw[row_N])


@dataclass(frozen=True, kw_only=True)
class RegionPooling:
    """Averages errors over an object-sized region and sets them against what training shows at that place.

    ``sigma`` is that of the Gaussian, in cells; ``place_hw`` float32 is the error that counts as 1 at each place;
    ``quantile`` of the frame is its value (1 = maximum).
    """

    sigma: float
    place_hw: Tensor
    quantile: float

    def ratio(self, map_Nhw: Tensor) -> Tensor:
        """Return how many times more than in training the error around each cell is, (N, h, w) float32."""
        return blur(map_Nhw, self.sigma) / self.place_hw

    def pool(self, ratio_Nhw: Tensor) -> NDArray[np.float64]:
        """Return one value per frame, (N,) float64."""
        if not len(ratio_Nhw):
            return np.zeros(0)
        cells_NM = ratio_Nhw.flatten(1).double()
        return np.asarray(cells_NM.quantile(self.quantile, dim=1).numpy())


class Judge(Protocol):
    """What a network has to be able to do for scoring: say of each place of a clip how little it is like normal video."""

    def error_maps(self, clip_BCTHW: Tensor, cell: int, index_K: Sequence[int] | None = None) -> Tensor:
        """Return errors of some frames of clips, or of all, mean over cells of ``cell`` x ``cell`` pixels.

        (B, K, H / cell, W / cell) float32, 0 or more. Clips may have any length that is a multiple of 8.
        """


def window_errors(
    network: Judge, windows: Iterable[Tensor], precision: Precision, reduce: int = 1
) -> dict[Tap, Errors]:
    """Judge batches of windows, (B, C, 16, H, W) each, and return the errors at both taps in the same order.

    ``reduce`` says how many stored pixels each side of theirs stands for, so that a cell of the maps stays one of 4 x 4.
    """
    index_K = list(TAPS.values())
    found: dict[Tap, list[Tensor]] = {tap: [] for tap in TAPS}
    with torch.inference_mode():
        for clip_BCTHW in windows:
            with autocast(precision, clip_BCTHW.device):
                error_BKhw = network.error_maps(clip_BCTHW, MAP_STRIDE // reduce, index_K)
            for tap, error_Bhw in zip(TAPS, error_BKhw.unbind(1), strict=True):
                found[tap].append(error_Bhw)
    return {tap: errors_of(torch.cat(parts).cpu()) for tap, parts in found.items()}


def errors_of(map_Nhw: Tensor) -> Errors:
    """Return errors of which maps are known: cells are equally large, so that their mean is that of the frame."""
    return Errors(frame_mse_N=map_Nhw.mean((1, 2)), map_Nhw=map_Nhw)


def video_windows(sequence_THWC: Tensor, batch_size: int, ends: slice = slice(None)) -> Iterator[Tensor]:
    """Yield the windows that end at frames 0..T-1 (``ends``: at some of them), (B, C, 16, H, W).

    The first 15 start with repeats of frame 0.
    """
    first, stop, _ = ends.indices(len(sequence_THWC))
    padded = torch.cat([sequence_THWC[:1].expand(CLIP_FRAMES - 1, -1, -1, -1), sequence_THWC])
    for start in range(first, stop, batch_size):
        yield gather_clips(padded, torch.arange(start, min(start + batch_size, stop), device=padded.device))


def gather_clips(sequence_NHWC: Pictures, first_B: Tensor) -> Tensor:
    """Return the clips (B, C, 16, H, W) that start at the given frames; their memory is in channels-last order."""
    index_BT = first_B[:, None] + torch.arange(CLIP_FRAMES, device=first_B.device)
    return sequence_NHWC[index_BT].permute(0, 4, 1, 2, 3)


def scored_frames(tap: Tap, num_frames: int, wanted: slice = slice(None)) -> NDArray[np.int64]:
    """Return which of the frames ``wanted`` a tap scores, of a video of ``num_frames``.

    The window of frame n is the one that ends at frame ``n + 15 - TAPS[tap]``.
    """
    first, stop, _ = wanted.indices(num_frames)
    before = 0 if tap == "last" else TAPS[tap]
    after = CLIP_FRAMES - 1 - TAPS[tap]
    return np.arange(max(first, before), max(first, before, min(stop, num_frames - after)), dtype=np.int64)


def window_ends(num_frames: int, wanted: slice = slice(None)) -> slice:
    """Return the last frames of all windows that score the frames ``wanted`` at any tap."""
    first, stop, _ = wanted.indices(num_frames)
    after = max(CLIP_FRAMES - 1 - index for index in TAPS.values())
    return slice(first, min(num_frames, stop + after))


def rows_of_tap(tap: Tap, num_frames: int, wanted: slice = slice(None)) -> slice:
    """Return which of the windows of :func:`video_windows` that end at :func:`window_ends` score :func:`scored_frames`."""
    frames = scored_frames(tap, num_frames, wanted)
    if not len(frames):
        return slice(0, 0)
    shift = CLIP_FRAMES - 1 - TAPS[tap] - window_ends(num_frames, wanted).start
    return slice(int(frames[0]) + shift, int(frames[-1]) + shift + 1)
