"""Pictures of all training videos end to end: whole in memory, or read from the stored shards whenever they are asked for.

Both hold the same values: they are read and converted by the same functions, frame by frame.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import TrainSettings
from pipeline.contract import Inputs, VideoRecord
from trainer.normalise import arriving_flow, reduce_pictures, smooth_flow, to_channels

Kind = Literal["frames_NHWC", "image_NHWC", "flow_NHW2", "mask_NHW"]
KINDS: tuple[Kind, ...] = ("frames_NHWC", "image_NHWC", "flow_NHW2", "mask_NHW")
READ_FRAMES = 256
"""Frames of one kind that are read at once, at most."""
KEPT_RUNS = 8
"""Runs of frames that are remembered: a clip's own frames are asked for by what is shown and by what replaces it."""


class Pictures(Protocol):
    """N pictures that can be indexed along their first axis as a tensor can; a :class:`torch.Tensor` is one."""

    @property
    def shape(self) -> torch.Size:
        """N, height, width and perhaps channels."""

    @property
    def device(self) -> torch.device:
        """Where what is asked for lies."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Tensor: ...


def read_pictures(
    inputs: Inputs, record: VideoRecord, kind: Kind, settings: TrainSettings, start: int, stop: int
) -> Tensor:
    """Return pictures ``start`` to ``stop`` of one video, as the autoencoders see them before they are normalised.

    Returns
    -------
    Tensor
        ``frames_NHWC`` and ``image_NHWC`` uint8, ``flow_NHW2`` float16 pixels per frame (see ``arriving_flow``),
        ``mask_NHW`` bool; reduced by ``train.reduce``, flow smoothed by ``train.flow_sigma``.
    """
    if kind == "flow_NHW2":
        flow_NHW2 = reduce_pictures(_read_arriving(inputs, record, start, stop), settings.reduce)
        return smooth_flow(flow_NHW2, settings.flow_sigma)
    if kind == "mask_NHW":
        mask_NHW = torch.from_numpy(inputs.read("masks", "mask", record, start, stop))
        return reduce_pictures(mask_NHW[..., None], settings.reduce)[..., 0]
    stage, name = ("frames", "frames") if kind == "frames_NHWC" else ("inpaint", "image")
    pixels_NHWC = torch.from_numpy(inputs.read(stage, name, record, start, stop))
    return reduce_pictures(to_channels(pixels_NHWC, settings.colour), settings.reduce)


def _read_arriving(inputs: Inputs, record: VideoRecord, start: int, stop: int) -> Tensor:
    if start:
        return torch.from_numpy(inputs.read("flows", "flow", record, start - 1, stop - 1)).permute(0, 2, 3, 1)
    return arriving_flow(inputs.read("flows", "flow", record, 0, max(1, stop - 1)))[:stop]


def read_in_pieces(
    inputs: Inputs, record: VideoRecord, kind: Kind, settings: TrainSettings
) -> Iterator[tuple[int, Tensor]]:
    """Yield all pictures of a video, a bounded number at a time, each piece with its first frame."""
    for start in range(0, record.num_frames, READ_FRAMES):
        stop = min(start + READ_FRAMES, record.num_frames)
        yield start, read_pictures(inputs, record, kind, settings, start, stop)


class StoredPictures:
    """The pictures of all training videos, none of which is in memory.

    What indexing returns is a new tensor on the CPU. The few runs of frames that were asked for last are remembered:
    memory is bounded by a few clips, however long the videos are. Other processes may have a copy: it reads on its own.
    """

    def __init__(self, inputs: Inputs, settings: TrainSettings, kind: Kind) -> None:
        self._inputs, self._settings, self._kind = inputs, settings, kind
        self._records = tuple(inputs.videos("train"))
        self._offset_V = np.cumsum([0, *(record.num_frames for record in self._records)])
        self._kept: OrderedDict[tuple[int, int], Tensor] = OrderedDict()
        row = read_pictures(inputs, self._records[0], kind, settings, 0, 1)
        self._row_shape, self.dtype = row.shape[1:], row.dtype

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": OrderedDict()}

    def __len__(self) -> int:
        return int(self._offset_V[-1])

    @property
    def shape(self) -> torch.Size:
        """N, height, width and perhaps channels."""
        return torch.Size((len(self), *self._row_shape))

    @property
    def device(self) -> torch.device:
        """Where what is asked for lies: on the CPU."""
        return torch.device("cpu")

    def __getitem__(self, index: Any, /) -> Tensor:
        """Return the pictures that an int, slice, array or tensor of ints or bools names; of a tuple, by its first entry."""
        if isinstance(index, tuple):
            picked = self[index[0]]
            axes = 0 if isinstance(index[0], int | np.integer) else 1
            return picked[(slice(None),) * axes + index[1:]]
        number = np.arange(len(self))[index.cpu().numpy() if isinstance(index, Tensor) else index]
        wanted_M, place_M = np.unique(number, return_inverse=True)
        if not len(wanted_M):
            return torch.empty((0, *self._row_shape), dtype=self.dtype)
        rows = torch.cat([self._run(first, last + 1) for first, last in self._runs(wanted_M)])
        return rows[torch.from_numpy(place_M.reshape(-1))].reshape(*np.shape(number), *self._row_shape)

    def _runs(self, wanted_M: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Return first and last of every stretch of ascending numbers, none of which crosses the end of a video."""
        video_M = np.searchsorted(self._offset_V, wanted_M, side="right")
        breaks = np.flatnonzero((np.diff(wanted_M) != 1) | (np.diff(video_M) != 0))
        firsts, lasts = [0, *(breaks + 1)], [*breaks, len(wanted_M) - 1]
        return [(int(wanted_M[a]), int(wanted_M[b])) for a, b in zip(firsts, lasts, strict=True)]

    def _run(self, first: int, stop: int) -> Tensor:
        """Return consecutive pictures of one video; a short run is remembered."""
        if (first, stop) not in self._kept:
            video = int(np.searchsorted(self._offset_V, first, side="right")) - 1
            offset = int(self._offset_V[video])
            rows = read_pictures(
                self._inputs, self._records[video], self._kind, self._settings, first - offset, stop - offset
            )
            if stop - first > READ_FRAMES:
                return rows
            self._kept[first, stop] = rows
            if len(self._kept) > KEPT_RUNS:
                self._kept.popitem(last=False)
        self._kept.move_to_end((first, stop))
        return self._kept[first, stop]
