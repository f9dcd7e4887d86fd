"""Dense scoring: long windows go through the network, and each of their frames is scored where it lies.

Windows of 16 at stride 1 touch every frame 16 times. The network is a convolution: run over a long window, its receptive
field slides by itself. Two things are not as in a window of 16, so that numbers differ a little (docs/results.md):

* frames around a frame are seen as far as the receptive field reaches, where the window of 16 ends in zeros; so what comes
  after a frame has a part in its score, whatever the protocol;
* the strides in time, 8 in all, have a phase: frame 8 of a window of 16 always lies at phase 0, those of a long window at
  every phase in turn. Several phases, evenly spaced, can be averaged; or each frame is scored by the one run of eight in
  which it lies at phase 0.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from trainer.devices import Precision, autocast
from trainer.indicators import MAP_STRIDE, Errors, Judge, errors_of

Phases = Literal[1, 2, 4, 8, "centre"]

STRIDE = 8
"""Frames per element of the code: the product of the strides in time."""
SCORED = 128
"""Frames that one window scores at most; with them the memory that it takes grows."""
CONTEXT = 8
"""Frames before and after those: as many as a window of 16 shows before its frame 8, and one more than after it."""


def dense_errors(
    network: Judge,
    sequence_THWC: Tensor,
    normalise: Callable[[Tensor], Tensor],
    precision: Precision,
    *,
    phases: Phases = 1,
    reduce: int = 1,
    wanted: slice = slice(None),
) -> Errors:
    """Return the errors of the frames ``wanted``, in their order; see :class:`trainer.indicators.Errors`.

    Parameters
    ----------
    sequence_THWC : (T, H, W, C) frames or flow in stored units; beyond its ends the first and the last are repeated.
    normalise : maps parts of it to -1..1, float32.
    phases : over how many phases the mean is taken; the time it takes grows with it. ``centre`` = eight phases too, but of
        each frame only the one that is that of frame 8 of a window of 16.
    reduce : how many stored pixels each side of theirs stands for, so that a cell of the maps stays one of 4 x 4.
    """
    start, stop, _ = wanted.indices(len(sequence_THWC))
    cells = []
    with torch.inference_mode():
        for first in range(start, stop, SCORED):
            stop_here = min(first + SCORED, stop)
            judge = partial(_shifted, network, sequence_THWC, normalise, precision, MAP_STRIDE // reduce)
            cells.append(_joined(judge, first, stop_here, phases).cpu())
    return errors_of(torch.cat(cells))


def _joined(judge: Callable[[int, int, int], Tensor], first: int, stop: int, phases: Phases) -> Tensor:
    """Return the error maps of frames ``first`` to ``stop``, (stop - first, h, w), of all phases together."""
    runs = STRIDE if phases == "centre" else phases
    offset_T = torch.arange(stop - first)
    parts = []
    for shift in range(0, STRIDE, STRIDE // runs):
        error_Thw = judge(first, stop, shift)
        at_zero_T = (CONTEXT + shift + offset_T) % STRIDE == 0
        weight_T = at_zero_T if phases == "centre" else torch.full((stop - first,), 1 / runs)
        parts.append(error_Thw * weight_T.to(error_Thw)[:, None, None])
    return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]


def _shifted(
    network: Judge,
    sequence_THWC: Tensor,
    normalise: Callable[[Tensor], Tensor],
    precision: Precision,
    cell: int,
    first: int,
    stop: int,
    shift: int,
) -> Tensor:
    """Return the error maps of a window that begins ``shift`` frames before the context."""
    before = CONTEXT + shift
    length = -(-(before + stop - first + CONTEXT) // STRIDE) * STRIDE
    index_T = torch.arange(first - before, first - before + length).clamp_(0, len(sequence_THWC) - 1)
    clip_1CTHW = normalise(sequence_THWC[index_T.to(sequence_THWC.device)]).permute(3, 0, 1, 2)[None]
    with autocast(precision, clip_1CTHW.device):
        error_1Thw = network.error_maps(clip_1CTHW, cell)
    return error_1Thw[0, before : before + stop - first]
