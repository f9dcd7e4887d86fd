"""What every dataset layout yields: the same Video records and the same Labels."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from pipeline.contract import DataError, Labels, Split, Video, VideoRecord

__all__ = ["DataError", "Dataset", "Labels", "Split", "Video", "VideoRecord"]


class Dataset(ABC):
    """A layout on disk. Subclasses list videos and read labels; decoding is the same for all (reader.py)."""

    kind: str
    """Name in the registry and in ``dataset.kind``."""

    @abstractmethod
    def videos(self) -> Sequence[Video]:
        """Return all videos, sorted by split and id.

        Raises
        ------
        DataError
            The root lacks the folders that the layout promises; the message shows what was expected and found.
        """

    @abstractmethod
    def labels(self, video: Video, num_frames: int) -> Labels | None:
        """Return the labels of a test video of ``num_frames`` frames; None where the dataset has none.

        Raises
        ------
        DataError
            Labels exist but do not fit the frames; both numbers and the file are named.
        """

    def label_files(self, video: Video) -> Sequence[Path]:
        """Return the files that :meth:`labels` reads for this video: their content is part of the evaluation's key."""
        return ()
