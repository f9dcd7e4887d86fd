"""What every dataset layout yields: the same Video records and the same Labels."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.contract import DataError, Labels, Split, Video, VideoRecord
from pipeline.datasets.listing import sort_videos

__all__ = ["DataError", "Dataset", "Labels", "Notes", "Split", "Survey", "Video", "VideoRecord"]


class Notes:
    """What is found out while videos are listed, so that one problem does not hide another."""

    def __init__(self) -> None:
        self.problems: list[DataError] = []
        self.remarks: list[str] = []
        """What is worth knowing and does no harm."""

    @contextmanager
    def tolerant(self) -> Iterator[None]:
        """Note a DataError and go on behind the block."""
        try:
            yield
        except DataError as error:
            self.problems.append(error)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a layout holds, as far as it can be listed, and all that is wrong with it."""

    videos: tuple[Video, ...]
    """Sorted by split and id."""
    problems: tuple[DataError, ...]
    remarks: tuple[str, ...]


class Dataset(ABC):
    """A layout on disk. Subclasses list videos and read labels; decoding is the same for all (reader.py)."""

    kind: str
    """Name in the registry and in ``dataset.kind``."""

    @property
    def benchmark(self) -> str | None:
        """The name of a published dataset in published.py; None where it is not known to be one."""
        return None

    @abstractmethod
    def find_videos(self, notes: Notes) -> Iterable[Video]:
        """Yield all videos, in any order. What is wrong goes into ``notes``, or is raised where nothing can follow.

        Raises
        ------
        DataError
            The root lacks the folders that the layout promises; the message shows what was expected and found.
        """

    @cached_property
    def survey(self) -> Survey:
        """All videos that can be listed and all that is wrong with the layout; nothing is raised."""
        notes = Notes()
        found: list[Video] = []
        with notes.tolerant():
            found.extend(self.find_videos(notes))
        videos = sort_videos(found, notes.problems.append)
        return Survey(videos=videos, problems=tuple(notes.problems), remarks=tuple(notes.remarks))

    def videos(self) -> Sequence[Video]:
        """Return all videos, sorted by split and id.

        Raises
        ------
        DataError
            The layout is not as promised, or two videos of a split have one id: the first problem of the survey.
        """
        for error in self.survey.problems:
            raise error
        return self.survey.videos

    def may_lack(self, split: Split) -> bool:
        """Say whether there may be no video of this split."""
        return False

    @abstractmethod
    def labels(self, video: Video, num_frames: int) -> Labels | None:
        """Return the labels of a test video of ``num_frames`` frames; None where the dataset has none.

        Raises
        ------
        DataError
            Labels exist but do not fit the frames; both numbers and the file are named.
        """

    def where_labels_belong(self) -> str:
        """Return which file of labels is expected where, for a message about labels that are missing; empty if none is."""
        return ""

    def label_files(self, video: Video) -> Sequence[Path]:
        """Return the files that :meth:`labels` reads for this video: their content is part of the evaluation's key."""
        return ()
