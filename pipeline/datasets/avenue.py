"""CUHK Avenue as published.

::

    Avenue Dataset/                          (dataset.root: this folder or its parent)
        training_videos/01.avi ... 16.avi
        testing_videos/01.avi ... 21.avi
    ground_truth_demo/                       in either of them, or testing_label_mask alone
        testing_label_mask/1_label.mat ...   volLabel, 1 x T cells of H x W
    frame_labels_avenue.npy                  for the label set 3867 only: (1, N) or (N,), testing videos in order

Two label sets circulate. 3712 anomalous frames: those in which the published masks have a pixel. 3867: the frame labels that
STEAL, LNTRA, MNAD and the paper use. They differ in 441 frames, and results under one do not compare with the other's.

Source: Lu, Shi, Jia, ICCV 2013.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.contract import DataError, Labels, Split, Video
from pipeline.datasets.base import Dataset, Notes
from pipeline.datasets.folder import find_videos
from pipeline.datasets.listing import find_base, natural_key
from pipeline.datasets.mat_intervals import load_variable
from pipeline.datasets.published import PUBLISHED
from pipeline.datasets.reader import claimed_frames, count_frames, native_size
from pipeline.datasets.truth import Bools, as_labels, check_length, check_size, labels_from_masks, load_npy

LabelSet = Literal["3712", "3867"]
_SPLITS: dict[Split, str] = {"train": "training_videos", "test": "testing_videos"}
_FRAME_LABELS = "frame_labels_avenue.npy"


class AvenueDataset(Dataset):
    """Videos with a file of pixel masks per testing video."""

    kind = "avenue"

    def __init__(self, root: Path, *, label_set: LabelSet | None = None) -> None:
        self.root = root
        self.label_set: LabelSet = label_set or "3712"

    @property
    def benchmark(self) -> str | None:
        """See :attr:`Dataset.benchmark`."""
        return "avenue"

    @cached_property
    def base(self) -> Path:
        """The folder with the videos."""
        return find_base(self.root, ("Avenue Dataset", "Avenue_Dataset"), _SPLITS.values())

    def find_videos(self, notes: Notes) -> Iterator[Video]:
        """See :meth:`Dataset.find_videos`."""
        for split, title in _SPLITS.items():
            folder = self.base / title
            with notes.tolerant():
                videos = list(find_videos(folder, split))
                if not videos:
                    raise DataError(f"{folder}: expected videos 01.avi, 02.avi ..., found none; unpack the archive again")
                yield from videos

    def labels(self, video: Video, num_frames: int) -> Labels | None:
        """See :meth:`Dataset.labels`. The set 3712 is read from the masks; with 3867 the masks are there as well."""
        if video.split != "test":
            return None
        mask_THW = self._masks(video, num_frames)
        if self.label_set == "3867":
            frame_T = self._cut_out(video, num_frames)
            return Labels(frame_T=frame_T, source=f"{_FRAME_LABELS} (set 3867)", pixel_mask_THW=mask_THW)
        if mask_THW is not None:
            return labels_from_masks(mask_THW, "testing_label_mask (set 3712)")
        if self._mask_folder is not None:
            raise DataError(
                f"{self._mask_file(video)}: expected the masks of {video.id}, since other videos have theirs, found none; "
                "unpack ground_truth_demo again"
            )
        return None

    def where_labels_belong(self) -> str:
        """See :meth:`Dataset.where_labels_belong`."""
        place = self.base if self.base == self.root else self.base.parent
        return f"{place / 'ground_truth_demo' / 'testing_label_mask' / '1_label.mat'} ... (ground_truth_demo.zip)"

    def label_files(self, video: Video) -> Sequence[Path]:
        """See :meth:`Dataset.label_files`."""
        if video.split != "test":
            return ()
        mask = self._mask_file(video)
        files = [mask] if mask is not None and mask.is_file() else []
        if self.label_set == "3867" and self._frame_labels is not None:
            files.append(self._frame_labels)
        return files

    @cached_property
    def _mask_folder(self) -> Path | None:
        places = (self.base, self.root, self.base.parent)
        below = ("ground_truth_demo/testing_label_mask", "testing_label_mask")
        folders = [place / name for place in places for name in below]
        return next((folder for folder in folders if folder.is_dir()), None)

    def _mask_file(self, video: Video) -> Path | None:
        number = video.id.lstrip("0") or "0"
        return self._mask_folder and self._mask_folder / f"{number}_label.mat"

    def _masks(self, video: Video, num_frames: int) -> Bools | None:
        path = self._mask_file(video)
        if path is None or not path.is_file():
            return None
        cells = load_variable(path, "volLabel")
        if cells is None:
            raise DataError(f"{path}: expected the variable volLabel (a mask per frame), found none of this name")
        if cells.dtype != object:
            raise DataError(f"{path}: expected volLabel as a cell with a mask per frame, found {cells.dtype} {cells.shape}")
        check_length(cells.size, num_frames, video.id, path)
        size = native_size(video)
        mask_THW = np.empty((num_frames, *size), np.bool_)
        for mask_HW, cell in zip(mask_THW, cells.reshape(-1), strict=True):
            found_HW = np.asarray(cell)
            check_size(found_HW[None], size, path)
            mask_HW[:] = found_HW != 0
        return mask_THW

    @cached_property
    def _frame_labels(self) -> Path | None:
        places = (self.root / _FRAME_LABELS, self.base / _FRAME_LABELS, self.base.parent / _FRAME_LABELS)
        return next((path for path in places if path.is_file()), None)

    def _cut_out(self, video: Video, num_frames: int) -> Bools:
        path = self._frame_labels
        if path is None:
            raise DataError(
                f"{self.root / _FRAME_LABELS}: expected the frame labels of set 3867, found none; take the file from a "
                'release of MNAD or LNTRA, or set dataset.labels = "3712" for the published masks'
            )
        labels_N = as_labels(load_npy(path), path)
        lengths = self._lengths(len(labels_N), video.id, num_frames)
        if len(labels_N) != sum(lengths.values()):
            raise DataError(
                f"{path}: expected labels of the {sum(lengths.values())} frames of {len(lengths)} testing videos, found "
                f"{len(labels_N)}; labels and videos must be of the same release, and no video may be missing"
            )
        totals, anomalous = PUBLISHED["avenue"].splits["test"], int(labels_N.sum())
        if len(labels_N) == totals.frames and anomalous != totals.anomalous["3867"]:
            raise DataError(
                f"{path}: expected the 3867 anomalous frames of the label set of this name, found {anomalous}; "
                "get the file of a release of MNAD or LNTRA"
            )
        start = sum(length for name, length in lengths.items() if natural_key(name) < natural_key(video.id))
        return labels_N[start : start + num_frames]

    def _lengths(self, labels: int, video_id: str, num_frames: int) -> dict[str, int]:
        """Return the frames of every testing video: which labels are whose depends on all videos before.

        What the headers claim will do where it adds up to the number of labels; else all frames are counted.
        """
        claimed = self._claimed | {video_id: num_frames}
        return claimed if sum(claimed.values()) == labels else self._counted

    @cached_property
    def _claimed(self) -> dict[str, int]:
        return {video.id: claimed_frames(video) for video in self.survey.videos if video.split == "test"}

    @cached_property
    def _counted(self) -> dict[str, int]:
        return {video.id: count_frames(video) for video in self.survey.videos if video.split == "test"}
