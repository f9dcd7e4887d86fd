"""Which clips are taken: those to fit to, those to validate by, and their order in every epoch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.config import CLIP_FRAMES, ConfigError, TrainSettings
from trainer.seeds import Seed


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


def split_clips(lengths: Sequence[int], settings: TrainSettings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first frames of clips to fit to, and of those to validate by; whole videos, or the end of a single one.

    Raises
    ------
    ConfigError
        A single video is too short for both.
    """
    offsets = np.cumsum(lengths) - lengths
    starts = [offset + np.arange(length - CLIP_FRAMES + 1) for offset, length in zip(offsets, lengths, strict=True)]
    if not settings.validation_share:
        return np.concatenate(starts), np.zeros(0, np.int64)
    if len(starts) == 1:
        first = round(lengths[0] * (1 - settings.validation_share))  # no clip lies on both sides of it
        fitted, held_out = starts[0][starts[0] + CLIP_FRAMES <= first], starts[0][starts[0] >= first]
        if not len(fitted) or not len(held_out):
            raise ConfigError(
                f"train.validation_share = {settings.validation_share:g}: expected at least {CLIP_FRAMES} frames to fit to "
                f"and as many to validate by, found a single training video of {lengths[0]}; set 0 to go without"
            )
        return fitted, held_out
    count = min(len(starts) - 1, max(1, round(len(starts) * settings.validation_share)))
    chosen = Seed(settings.seed).generator("validation").permutation(len(starts))[:count]
    held = np.isin(np.arange(len(starts)), chosen)
    return (
        np.concatenate([start for start, out in zip(starts, held, strict=True) if not out]),
        np.concatenate([start for start, out in zip(starts, held, strict=True) if out]),
    )
