"""Curves and pictures of a training for TensorBoard, where that is installed: beside the artifact, part of no result."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Board:
    """Where a training shows itself; without a folder, nowhere."""

    def __init__(self, folder: Path | None = None, first_step: int = 0) -> None:
        self._writer: SummaryWriter | None = None
        if folder is not None and importlib.util.find_spec("tensorboard") is not None:
            from torch.utils import tensorboard

            # what an interrupted run showed beyond its last checkpoint is shown again
            self._writer = tensorboard.SummaryWriter(str(folder), purge_step=first_step or None)

    @property
    def live(self) -> bool:
        """Whether anything is shown."""
        return self._writer is not None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each of these curves."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def picture(self, name: str, picture_HWC: NDArray[np.uint8], step: int) -> None:
        """Show a picture (H, W, 3) uint8 RGB."""
        if self._writer is not None:
            self._writer.add_image(name, picture_HWC, step, dataformats="HWC")

    def close(self) -> None:
        """Write what was not written yet."""
        if self._writer is not None:
            self._writer.close()
