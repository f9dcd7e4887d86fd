"""Dense scoring: long windows go through the network, and each of their frames is scored where it lies.

Windows of 16 at stride 1 touch every frame 16 times. The network is a convolution: run over a long window, its receptive
field slides by itself. Two things are not as in a window of 16, so that numbers differ a little (docs/results.md):

* frames around a frame are seen as far as the receptive field reaches, where the window of 16 ends in zeros; so what comes
  after a frame has a part in its score, whatever the protocol;
* the strides in time, 8 in all, have a phase: frame 8 of a window of 16 always lies at phase 0, those of a long window at
  every phase in turn. Several phases, evenly spaced, can be averaged.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.devices import Precision, autocast
from trainer.indicators import MAP_STRIDE, Errors

STRIDE = 8
"""Frames per element of the code: the product of the strides in time."""
SCORED = 128
"""Frames that one window scores at most; with them the memory that it takes grows."""
CONTEXT = 8
"""Frames before and after those: as many as a window of 16 shows before its frame 8, and one more than after it."""


class SlidingReconstructor(Protocol):
    """What an autoencoder has to be able to do for dense scoring."""

    def __call__(self, clip_BCTHW: Tensor, /) -> Tensor:
        """Return the reconstruction of clips of any length that is a multiple of 8, of the same shape."""


def dense_errors(
    network: SlidingReconstructor,
    sequence_THWC: Tensor,
    normalise: Callable[[Tensor], Tensor],
    precision: Precision,
    *,
    phases: int = 1,
    reduce: int = 1,
    wanted: slice = slice(None),
) -> Errors:
    """Return the errors of the frames ``wanted``, in their order; see :class:`trainer.indicators.Errors`.

    Parameters
    ----------
    sequence_THWC : (T, H, W, C) frames or flow in stored units; beyond its ends the first and the last are repeated.
    normalise : maps parts of it to -1..1, float32.
    phases : over how many phases the mean is taken, 1, 2, 4 or 8; the time it takes grows with it.
    reduce : how many stored pixels each side of theirs stands for, so that a cell of the maps stays one of 4 x 4.
    """
    start, stop, _ = wanted.indices(len(sequence_THWC))
    mse, cells = [], []
    with torch.inference_mode():
        for first in range(start, stop, SCORED):
            error_THW = sum(_phases(network, sequence_THWC, normalise, precision, first, min(first + SCORED, stop), phases))
            assert isinstance(error_THW, Tensor)
            mse.append(error_THW.mean((1, 2)).cpu() / phases)
            cells.append(F.avg_pool2d(error_THW[:, None], MAP_STRIDE // reduce)[:, 0].cpu() / phases)
    return Errors(frame_mse_N=torch.cat(mse), map_Nhw=torch.cat(cells))


def _phases(
    network: SlidingReconstructor,
    sequence_THWC: Tensor,
    normalise: Callable[[Tensor], Tensor],
    precision: Precision,
    first: int,
    stop: int,
    phases: int,
) -> Iterator[Tensor]:
    """Yield the squared errors (stop - first, H, W) of frames ``first`` to ``stop``, mean over channels, phase by phase."""
    for shift in range(0, STRIDE, STRIDE // phases):
        before = CONTEXT + shift
        length = -(-(before + stop - first + CONTEXT) // STRIDE) * STRIDE
        index_T = torch.arange(first - before, first - before + length).clamp_(0, len(sequence_THWC) - 1)
        clip_1CTHW = normalise(sequence_THWC[index_T.to(sequence_THWC.device)]).permute(3, 0, 1, 2)[None]
        with autocast(precision, clip_1CTHW.device):
            reconstruction_1CTHW = network(clip_1CTHW)
        shown = slice(before, before + stop - first)
        yield (reconstruction_1CTHW[0, :, shown].float() - clip_1CTHW[0, :, shown]).square_().mean(0)
