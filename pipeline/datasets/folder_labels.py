"""Labels beside a folder of recordings: arrays, tables, ELAN's files, masks and tracks, for the frames that count."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from pipeline.contract import DataError, Labels, Video
from pipeline.datasets.annotation_tools import read_elan
from pipeline.datasets.listing import name_in_full
from pipeline.datasets.reader import native_size
from pipeline.datasets.recorded import RecordedFrames, recording_of
from pipeline.datasets.time_tables import Stretch, read_table
from pipeline.datasets.track_files import find_track_file
from pipeline.datasets.tracked import with_tracks
from pipeline.datasets.truth import Bools, as_labels, check_size, labels_from_masks, load_masks, load_npy


class FolderLabels:
    """Finds and reads the labels of test videos.

    Parameters
    ----------
    root
        Folder of the dataset.
    tests
        Its test videos: if one of them has labels, all must.
    recordings
        Whole recordings, which a table may name.
    """

    def __init__(self, root: Path, tests: Sequence[Video], recordings: Sequence[Video]) -> None:
        self.root = root
        self._tests = tests
        self._recordings = recordings

    def read(self, video: Video, num_frames: int) -> Labels | None:
        """Return the labels of a test video; None where there are none at all.

        Raises
        ------
        DataError
            They do not fit the frames, there are two sources of them, or only other videos have some.
        """
        frames = RecordedFrames(video, num_frames)
        mask_THW = self._masks(frames)
        source = self._source(frames.recording)
        if source is not None:
            frame_T = self._frame_labels(frames, source)
            found = Labels(frame_T=frame_T, source=str(source.relative_to(self.root)), pixel_mask_THW=mask_THW)
        elif mask_THW is not None:
            found = labels_from_masks(mask_THW, str(self._mask_file(frames.recording).relative_to(self.root)))
        else:
            self._check_none_labelled(frames.recording)
            return None
        return self._with_tracks(found, frames)

    def files(self, video: Video) -> Sequence[Path]:
        """Return the files that :meth:`read` reads."""
        recording = recording_of(video)
        mask = self._mask_file(recording)
        files = (self._source(recording), mask if mask.is_file() else None, find_track_file(self._track_folder, recording))
        return tuple(path for path in files if path is not None)

    def _source(self, recording: str) -> Path | None:
        """Return the one file of frame labels of a recording, if there is any."""
        labels = self.root / "labels"
        names = (f"frames/{recording}.npy", f"{recording}.npy", f"elan/{recording}.eaf", f"{recording}.eaf")
        found = [path for name in names if (path := labels / name).is_file()]
        if self._table is not None:
            found.append(self._table)
        if len(found) > 1:
            raise DataError(f"{found[0]}: expected one source of labels for {recording}, found {found[1]} too; remove one")
        return found[0] if found else None

    def _frame_labels(self, frames: RecordedFrames, path: Path) -> Bools:
        if path.suffix == ".npy":
            return frames.pick(as_labels(load_npy(path), path), path)
        stretches = read_elan(path) if path.suffix == ".eaf" else self._rows.get(frames.recording, [])
        return frames.mark(stretches)

    @cached_property
    def _table(self) -> Path | None:
        found = [path for path in (self.root / "labels.csv", self.root / "labels" / "labels.csv") if path.is_file()]
        return found[0] if found else None

    @cached_property
    def _rows(self) -> dict[str, list[Stretch]]:
        known = {name_in_full(video): recording_of(video) for video in self._recordings}
        known |= {name: name for name in known.values()}
        return read_table(self._table, known, what="a test video") if self._table else {}

    def _mask_file(self, recording: str) -> Path:
        return self.root / "labels" / "masks" / f"{recording}.npz"

    def _masks(self, frames: RecordedFrames) -> Bools | None:
        path = self._mask_file(frames.recording)
        if not path.is_file():
            return None
        mask_THW = frames.pick(load_masks(path), path)
        check_size(mask_THW, native_size(frames.video), path)
        return mask_THW

    @property
    def _track_folder(self) -> Path:
        return self.root / "labels" / "tracks"

    def _with_tracks(self, labels: Labels, frames: RecordedFrames) -> Labels:
        return with_tracks(labels, self._track_folder, frames) if self._track_folder.is_dir() else labels

    def _check_none_labelled(self, recording: str) -> None:
        """Labels for some test videos only are a mistake: a frame without a label cannot be scored against one."""
        if self._some_label is not None:
            path = self.root / "labels" / "frames" / f"{recording}.npy"
            raise DataError(
                f"{path}: expected labels, since other test videos have them ({self._some_label}), found none; "
                "for a normal video write zeros"
            )

    @cached_property
    def _some_label(self) -> Path | None:
        return next((path for video in self._tests for path in self.files(video)), None)
