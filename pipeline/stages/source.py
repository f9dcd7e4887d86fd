"""Frames of the videos themselves, for the stages that decode."""

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import VideoRecord
from pipeline.datasets.images import swap_to_rgb
from pipeline.datasets.reader import Convert, FrameReader, open_frames


class SourceFrames:
    """Keeps the last video open, so that successive shards of it decode no frame twice."""

    def __init__(self) -> None:
        self._record: VideoRecord | None = None
        self._reader: FrameReader | None = None

    def read(self, record: VideoRecord, start: int, stop: int, convert: Convert = swap_to_rgb) -> NDArray[np.uint8]:
        """Return frames (stop - start, H, W, 3) uint8 RGB at native size, or converted; see :meth:`FrameReader.read`."""
        if self._reader is None or self._record != record:
            if self._reader is not None:
                self._reader.close()
            self._record, self._reader = record, open_frames(record.video)
        return self._reader.read(start, stop, convert)
