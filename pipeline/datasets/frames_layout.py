"""The layout that most repositories of the field use.

::

    ped2/                                   (dataset.root: this folder, or its parent if it is the only one there)
        training/frames/01/000.jpg ...      names are numbers of any width, from 0 or 1
        testing/frames/01/000.jpg ...
        frame_labels_ped2.npy               (1, N) or (N,): test videos in natural order, concatenated
        ped2.mat                            or this: gt, per test video 2 x intervals (start, end), 1-based, inclusive

The labels may also lie beside the folder. Natural order means that 2 comes before 10.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.contract import DataError, Labels, Split, Video
from pipeline.datasets.base import Dataset, Notes
from pipeline.datasets.listing import entries, frame_folder, is_folder, natural_key, subfolders
from pipeline.datasets.mat_intervals import read_mat_intervals
from pipeline.datasets.truth import Bools, as_labels, check_length, load_npy, mark_intervals

_SPLITS: dict[Split, str] = {"train": "training", "test": "testing"}
_BENCHMARKS = {
    **{f"{prefix}{name}": name for name in ("ped1", "ped2") for prefix in ("", "ucsd", "ucsd_")},
    "avenue": "avenue",
    "shanghai": "shanghaitech",
    "shanghaitech": "shanghaitech",
    "ubnormal": "ubnormal",
}
_ALIASES = {"shanghai": "shanghaitech", "shanghaitech": "shanghai"}


class FramesDataset(Dataset):
    """Frame folders below ``training/frames`` and ``testing/frames``.

    Parameters
    ----------
    root
        The folder with training/ and testing/, or its parent.
    benchmark
        Which published dataset it is; None: what the folder or the file of labels is called.
    """

    kind = "frames"

    def __init__(self, root: Path, *, benchmark: str | None = None, label_set: str | None = None) -> None:
        self.root = root
        self._named = benchmark
        self._label_set = label_set

    @cached_property
    def base(self) -> Path:
        """The folder with training and testing."""
        if _is_base(self.root):
            return self.root
        found = [folder for folder in subfolders(self.root) if _is_base(folder)]
        if len(found) == 1:
            return found[0]
        what = f"several: {', '.join(folder.name for folder in found)}" if found else "none"
        raise DataError(
            f"{self.root}: expected training/frames/ and testing/frames/ here or in one folder below, found {what}; "
            "set dataset.root to the folder that holds training/ and testing/"
        )

    @property
    def benchmark(self) -> str | None:
        """See :attr:`Dataset.benchmark`: as the settings say, or what the folder or the label file is called like."""
        if self._named:
            return self._named
        with suppress(DataError):
            return next((name for _, name in self._called()), None)
        return None

    def find_videos(self, notes: Notes) -> Iterator[Video]:
        """See :meth:`Dataset.find_videos`."""
        base = self.base
        with notes.tolerant():
            self._check_names()
        for split, title in _SPLITS.items():
            folder = base / title / "frames"
            with notes.tolerant():
                found = entries(folder)
                if masks := sorted(entry.name for entry in found if is_folder(entry) and entry.name.endswith("_gt")):
                    notes.remarks.append(f"{folder}: folders of masks among the videos are left aside: {', '.join(masks)}")
                folders = subfolders(folder, found)
                if not folders:
                    raise DataError(
                        f"{folder}: expected one folder of frames per video, found no folder; see docs/datasets.md"
                    )
                yield from (frame_folder(path, path.name, split) for path in folders)

    def _check_names(self) -> None:
        """Raise DataError where the folder or the file of labels is called like another benchmark than the settings say."""
        for path, name in self._called() if self._named else ():
            if name != self._named:
                raise DataError(
                    f"{path}: expected {self._named} (dataset.benchmark), found what is called {name}; get what is "
                    f'meant, or set dataset.benchmark = "{name}"'
                )

    def _called(self) -> Iterator[tuple[Path, str]]:
        """Yield the folder and the file of labels, where they are called like a benchmark, with that benchmark."""
        names = [(place, place.name) for place in self._places]
        if self._label_file:
            names.append((self._label_file, self._label_file.stem.removeprefix("frame_labels_")))
        for path, name in names:
            if name.lower() in _BENCHMARKS:
                yield path, _BENCHMARKS[name.lower()]

    def labels(self, video: Video, num_frames: int) -> Labels | None:
        """See :meth:`Dataset.labels`."""
        path = self._label_file
        if video.split != "test" or path is None:
            return None
        if self._label_set and self._anomalous != int(self._label_set):
            raise DataError(
                f"{path}: expected {self._label_set} anomalous frames (dataset.labels), found {self._anomalous}: labels of "
                "another set; get the file of that set, or name the set that this is (docs/datasets.md)"
            )
        frame_T = self._frames_of(video, num_frames)
        check_length(len(frame_T), num_frames, video.id, path)
        return Labels(frame_T=frame_T, source=path.name)

    def where_labels_belong(self) -> str:
        """See :meth:`Dataset.where_labels_belong`."""
        name = self.benchmark or self.base.name
        return f"{self.base / f'frame_labels_{name}.npy'} (or {name}.mat)"

    def label_files(self, video: Video) -> Sequence[Path]:
        """See :meth:`Dataset.label_files`."""
        return () if video.split != "test" or self._label_file is None else (self._label_file,)

    @cached_property
    def _tests(self) -> list[Video]:
        """Test videos in the order in which labels are concatenated."""
        return sorted(
            (video for video in self.survey.videos if video.split == "test"), key=lambda video: natural_key(video.id)
        )

    @property
    def _places(self) -> tuple[Path, Path]:
        """Folders whose names tell what this is: dataset.root may be "." or a link of another name."""
        return self.base.absolute(), self.base.resolve()

    @cached_property
    def _label_file(self) -> Path | None:
        titles = [self._named] if self._named else []
        titles += [place.name for place in self._places]
        names = dict.fromkeys(name for title in titles for name in (title, _ALIASES.get(title, title)))
        files = [f"frame_labels_{name}.npy" for name in names] + [f"{name}.mat" for name in names]
        for folder in (self.base, *(place.parent for place in self._places)):
            for file in files:
                if (folder / file).is_file():
                    return folder / file
        others = sorted([*self.base.glob("frame_labels_*.npy"), *self.base.glob("*.mat")])
        if len(others) > 1:
            found = ", ".join(path.name for path in others)
            raise DataError(
                f"{self.base}: expected one label file, best named {files[0]}, found {found}; remove the others"
            )
        return others[0] if others else None

    @cached_property
    def _all_labels(self) -> Bools:
        path = self._label_file
        assert path is not None  # labels() has looked
        labels_N = as_labels(load_npy(path), path)
        frames = sum(len(video.files) for video in self._tests)
        if len(labels_N) != frames:
            raise DataError(
                f"{path}: expected labels of the {frames} frames of {len(self._tests)} test videos, found {len(labels_N)}; "
                "labels and frames must come from the same release: look for missing videos or frames"
            )
        return labels_N

    @cached_property
    def _anomalous(self) -> int:
        """How many frames of all test videos are anomalous."""
        return sum(int(np.count_nonzero(self._frames_of(video, len(video.files)))) for video in self._tests)

    def _frames_of(self, video: Video, num_frames: int) -> Bools:
        path = self._label_file
        assert path is not None  # labels() has looked
        return self._cut_out(video, path) if path.suffix == ".npy" else self._mark(video, num_frames, path)

    def _cut_out(self, video: Video, path: Path) -> Bools:
        start = 0
        for other in self._tests:
            if other.id == video.id:
                return self._all_labels[start : start + len(other.files)]
            start += len(other.files)
        raise DataError(f"{path}: expected a test video of this dataset, found {video.id}")

    @cached_property
    def _all_intervals(self) -> list[list[tuple[int, int]]]:
        path = self._label_file
        assert path is not None  # labels() has looked
        return read_mat_intervals(path, num_videos=len(self._tests))

    def _mark(self, video: Video, num_frames: int, path: Path) -> Bools:
        index = [other.id for other in self._tests].index(video.id)
        return mark_intervals(self._all_intervals[index], num_frames, video.id, path)


def _is_base(folder: Path) -> bool:
    return all((folder / title / "frames").is_dir() for title in _SPLITS.values())
