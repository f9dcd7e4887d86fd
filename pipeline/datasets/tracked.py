"""True regions from a folder of track files, given to a dataset of any layout (``dataset.tracks``)."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.contract import DataError, Labels, Split, Video
from pipeline.datasets.base import Dataset, Notes
from pipeline.datasets.recorded import RecordedFrames, recording_of
from pipeline.datasets.track_files import SUFFIXES, find_track_file, no_rows, read_track_file


class TrackedDataset(Dataset):
    """Another dataset, its test videos with the tracks of a folder."""

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self.kind = dataset.kind
        self._dataset = dataset
        self._folder = folder

    @property
    def benchmark(self) -> str | None:
        """See :attr:`Dataset.benchmark`."""
        return self._dataset.benchmark

    def find_videos(self, notes: Notes) -> Iterable[Video]:
        """See :meth:`Dataset.find_videos`."""
        survey = self._dataset.survey
        notes.problems += survey.problems
        notes.remarks += survey.remarks
        if not self._folder.is_dir():
            notes.problems.append(DataError(f"{self._folder}: expected a folder of tracks (dataset.tracks), found none"))
        return survey.videos

    def may_lack(self, split: Split) -> bool:
        """See :meth:`Dataset.may_lack`."""
        return self._dataset.may_lack(split)

    def labels(self, video: Video, num_frames: int) -> Labels | None:
        """See :meth:`Dataset.labels`."""
        found = self._dataset.labels(video, num_frames)
        return found and with_tracks(found, self._folder, RecordedFrames(video, num_frames))

    def where_labels_belong(self) -> str:
        """See :meth:`Dataset.where_labels_belong`."""
        return self._dataset.where_labels_belong()

    def label_files(self, video: Video) -> Sequence[Path]:
        """See :meth:`Dataset.label_files`."""
        path = find_track_file(self._folder, recording_of(video)) if video.split == "test" else None
        files = self._dataset.label_files(video)
        return (*files, path) if path else files


def with_tracks(labels: Labels, folder: Path, frames: RecordedFrames) -> Labels:
    """Add the tracks that lie in a folder; a video without any anomalous frame needs no file.

    Raises
    ------
    DataError
        An anomalous video has no file, or its tracks do not fit its frames.
    """
    path = find_track_file(folder, frames.recording)
    if path is None and labels.frame_T.any():
        raise DataError(
            f"{folder / frames.recording}{SUFFIXES[0]}: expected the tracks of {frames.recording}, which has anomalous "
            "frames, found none; get them, or leave the folder out"
        )
    row_R6 = frames.pick_rows(read_track_file(path), path) if path else no_rows()
    return replace(labels, read_tracks=lambda: row_R6, track_source=f"tracks in {folder.name}/")
