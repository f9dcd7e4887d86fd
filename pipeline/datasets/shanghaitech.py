"""ShanghaiTech Campus as published.

::

    shanghaitech/                            (dataset.root: this folder or its parent)
        training/videos/01_001.avi ...       330 videos of 13 scenes: scene_number
        testing/frames/01_0014/000.jpg ...   107 folders of frames
        testing/test_frame_mask/01_0014.npy  (T,) 0 = normal, 1 = anomalous
        testing/test_pixel_mask/01_0014.npy  (T, H, W); read frame by frame, as all of them together have 17 GB

Where training/videos is not there, folders of frames in training/frames, which many have extracted, are taken.

Source: Luo, Liu, Gao, ICCV 2017; Liu, Luo, Lian, Gao, CVPR 2018.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.contract import DataError, Labels, Masks, Video
from pipeline.datasets.base import Dataset, Notes
from pipeline.datasets.folder import find_videos
from pipeline.datasets.listing import find_base, frame_folder, subfolders
from pipeline.datasets.reader import native_size
from pipeline.datasets.truth import as_labels, check_length, load_npy, load_npy_masks


class ShanghaiTechDataset(Dataset):
    """Training videos, and testing videos as folders of frames with masks beside them."""

    kind = "shanghaitech"

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def benchmark(self) -> str | None:
        """See :attr:`Dataset.benchmark`."""
        return "shanghaitech"

    @cached_property
    def base(self) -> Path:
        """The folder with training and testing."""
        return find_base(self.root, ("shanghaitech",), ("training", "testing"))

    def find_videos(self, notes: Notes) -> Iterator[Video]:
        """See :meth:`Dataset.find_videos`."""
        yield from self._training(notes)
        folder = self.base / "testing" / "frames"
        with notes.tolerant():
            if folders := subfolders(folder):
                yield from (frame_folder(path, path.name, "test") for path in folders)
            else:
                raise DataError(f"{folder}: expected one folder of frames per video, found none; unpack the archive again")

    def _training(self, notes: Notes) -> Iterator[Video]:
        videos, frames = self.base / "training" / "videos", self.base / "training" / "frames"
        if found := list(find_videos(videos, "train")):
            if frames.is_dir():
                notes.remarks.append(f"{frames}: left aside, since {videos} holds the published training videos")
            yield from found
        elif frames.is_dir() and (folders := subfolders(frames)):
            notes.remarks.append(f"{frames}: taken for the training videos; published are {videos}/*.avi")
            yield from (frame_folder(path, path.name, "train") for path in folders)
        else:
            error = f"{videos}: expected 01_001.avi, 01_002.avi ..., found none; unpack the archive again"
            notes.problems.append(DataError(error))

    def labels(self, video: Video, num_frames: int) -> Labels | None:
        """See :meth:`Dataset.labels`. Of pixel masks alone, frames with any masked pixel are anomalous."""
        if video.split != "test":
            return None
        path = self._frame_file(video)
        mask_THW = self._masks(video, num_frames)
        if path.is_file():
            frame_T = as_labels(load_npy(path), path)
            check_length(len(frame_T), num_frames, video.id, path)
            return Labels(frame_T=frame_T, source="test_frame_mask", pixel_mask_THW=mask_THW)
        if mask_THW is not None:
            frame_T = np.array([mask_HW.any() for mask_HW in mask_THW], np.bool_)
            return Labels(frame_T=frame_T, source="test_pixel_mask", pixel_mask_THW=mask_THW)
        if path.parent.is_dir() or self._pixel_file(video).parent.is_dir():
            raise DataError(f"{path}: expected labels, as other test videos have them, found none; unpack the masks again")
        return None

    def where_labels_belong(self) -> str:
        """See :meth:`Dataset.where_labels_belong`."""
        return f"{self.base / 'testing' / 'test_frame_mask'}/*.npy"

    def label_files(self, video: Video) -> Sequence[Path]:
        """See :meth:`Dataset.label_files`."""
        if video.split != "test":
            return ()
        files = (self._frame_file(video), self._pixel_file(video))
        return tuple(path for path in files if path.is_file())

    def _frame_file(self, video: Video) -> Path:
        return self.base / "testing" / "test_frame_mask" / f"{video.id}.npy"

    def _pixel_file(self, video: Video) -> Path:
        return self.base / "testing" / "test_pixel_mask" / f"{video.id}.npy"

    def _masks(self, video: Video, num_frames: int) -> Masks | None:
        path = self._pixel_file(video)
        return load_npy_masks(path, num_frames, native_size(video), video.id) if path.is_file() else None
