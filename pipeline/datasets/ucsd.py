"""UCSD Ped1 and Ped2 as published.

::

    UCSDped2/                     (dataset.root: this folder or its parent)
        Train/Train001/001.tif ...
        Test/Test001/001.tif ...
        Test/Test001_gt/001.bmp   masks; Test006, 009, 012: frame001.bmp; Ped1 has them for some videos only
        Test/UCSDped2.m           anomalous intervals, 1-based, inclusive

Source: Mahadevan, Li, Bhalodia, Vasconcelos, CVPR 2010.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.contract import DataError, Labels, Split, Video
from pipeline.datasets.base import Dataset, Notes
from pipeline.datasets.images import decode_image, read_bytes
from pipeline.datasets.listing import entries, frame_files, frame_folder, subfolders
from pipeline.datasets.reader import native_size
from pipeline.datasets.truth import Bools, check_length, check_size, labels_from_masks, mark_intervals

_SPLITS: dict[Split, str] = {"train": "Train", "test": "Test"}
_ENTRY = re.compile(r"TestVideoFile\s*\{\s*(end\s*\+\s*1|\d+)\s*\}\s*\.\s*gt_frame\s*=\s*\[([^\]]*)\]", re.ASCII)
_RANGE = re.compile(r"(\d+)(?:\s*:\s*(\d+))?", re.ASCII)


class UcsdDataset(Dataset):
    """One half of the UCSD pedestrian dataset."""

    kind = "ucsd"

    def __init__(self, root: Path, *, part: Literal["ped1", "ped2"] = "ped2") -> None:
        self.root = root
        self.part = part

    @cached_property
    def base(self) -> Path:
        """The folder with Train and Test."""
        below = f"UCSD{self.part}"
        candidates = (self.root, self.root / below, self.root / "UCSD_Anomaly_Dataset.v1p2" / below)
        for folder in candidates:
            if all((folder / title).is_dir() for title in _SPLITS.values()):
                return folder
        raise DataError(
            f"{self.root}: expected Train/ and Test/ here or in UCSD{self.part}/, found {_listed(self.root)}; "
            "set dataset.root to the unpacked UCSD folder (and dataset.part to ped1 or ped2)"
        )

    @property
    def benchmark(self) -> str | None:
        """See :attr:`Dataset.benchmark`."""
        return self.part

    def find_videos(self, notes: Notes) -> Iterator[Video]:
        """See :meth:`Dataset.find_videos`. A missing folder (mirrors lack Test005) is accepted."""
        for split, title in _SPLITS.items():
            with notes.tolerant():
                yield from (frame_folder(folder, folder.name, split) for folder in _numbered(self.base / title, title))

    def labels(self, video: Video, num_frames: int) -> Labels | None:
        """See :meth:`Dataset.labels`. Intervals of the .m file if there is one, else frames with any masked pixel."""
        if video.split != "test":
            return None
        mask_THW = self._masks(video, num_frames)
        if self._interval_file is not None:
            return self._from_intervals(video, num_frames, mask_THW, self._interval_file)
        if mask_THW is not None:
            return labels_from_masks(mask_THW, f"pixel masks {self._mask_folder(video).name}")
        if any(self._mask_folder(other).is_dir() for other in self.survey.videos):
            raise DataError(
                f"{self._mask_folder(video)}: expected masks or UCSD{self.part}.m, found neither, though other videos "
                f"have masks; put the published .m file into {self.base / 'Test'}"
            )
        return None

    def where_labels_belong(self) -> str:
        """See :meth:`Dataset.where_labels_belong`."""
        masks = " (or masks in Test001_gt/ ...)" if self.part == "ped2" else ""  # of Ped1 only some videos have any
        return f"{self.base / 'Test' / f'UCSD{self.part}.m'}{masks}"

    def label_files(self, video: Video) -> Sequence[Path]:
        """See :meth:`Dataset.label_files`."""
        if video.split != "test":
            return ()
        folder = self._mask_folder(video)
        masks = tuple(frame_files(folder)) if folder.is_dir() else ()
        return masks if self._interval_file is None else (self._interval_file, *masks)

    def _from_intervals(self, video: Video, num_frames: int, mask_THW: Bools | None, path: Path) -> Labels:
        number = int(video.id.removeprefix("Test"))
        intervals = self._intervals.get(number)
        if intervals is None:
            raise DataError(f"{path}: expected intervals of {video.id}, found {len(self._intervals)} entries; add it")
        frame_T = mark_intervals(intervals, num_frames, video.id, path)
        source = path.name
        if mask_THW is not None and (differ := int((frame_T != mask_THW.any(axis=(1, 2))).sum())):
            source += f" ({differ} frames differ from the pixel masks)"
        return Labels(frame_T=frame_T, source=source, pixel_mask_THW=mask_THW)

    def _mask_folder(self, video: Video) -> Path:
        return self.base / "Test" / f"{video.id}_gt"

    def _masks(self, video: Video, num_frames: int) -> Bools | None:
        """Return (T, H, W) bool, or None where the video has no masks."""
        folder = self._mask_folder(video)
        if not folder.is_dir():
            return None
        files = frame_files(folder)
        check_length(len(files), num_frames, video.id, folder)
        size = native_size(video)
        mask_THW = np.empty((num_frames, *size), np.bool_)
        for mask_HW, path in zip(mask_THW, files, strict=True):
            image = decode_image(read_bytes(path), path)
            found_HW = (image if image.ndim == 2 else image[..., :3].max(axis=2)) > 0
            check_size(found_HW[None], size, path)
            mask_HW[:] = found_HW
        return mask_THW

    @cached_property
    def _interval_file(self) -> Path | None:
        found = sorted(path for folder in (self.base / "Test", self.base) for path in folder.glob("UCSDped[12].m"))
        if len(found) > 1:
            raise DataError(f"{found[0]}: expected one file of intervals, found {found[1]} as well; remove one")
        return found[0] if found else None

    @cached_property
    def _intervals(self) -> dict[int, list[tuple[int, int]]]:
        return read_intervals(self._interval_file) if self._interval_file else {}


def _numbered(folder: Path, title: str) -> list[Path]:
    found = [path for path in subfolders(folder) if re.fullmatch(rf"{title}\d+", path.name, re.ASCII)]
    if not found:
        raise DataError(f"{folder}: expected folders {title}001, {title}002 ..., found {_listed(folder)}")
    return found


def _listed(folder: Path, most: int = 5) -> str:
    names = sorted(entry.name for entry in entries(folder))
    shown = ", ".join(names[:most]) or "nothing"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def read_intervals(path: Path) -> dict[int, list[tuple[int, int]]]:
    """Read ``TestVideoFile{end+1}.gt_frame = [61:180];`` lines; the program they form is never executed.

    Returns
    -------
    dict
        Per number of the test video (from 1) its anomalous intervals, 0-based and half-open.

    Raises
    ------
    DataError
        A line about ``gt_frame`` is not of this form.
    """
    text = "\n".join(line.partition("%")[0] for line in read_bytes(path).decode("latin-1").splitlines())
    found: dict[int, list[tuple[int, int]]] = {}
    matches = list(_ENTRY.finditer(text))
    if not matches or len(matches) != text.count("gt_frame"):
        raise DataError(
            f"{path}: expected lines like 'TestVideoFile{{end+1}}.gt_frame = [61:180];', "
            f"found {text.count('gt_frame')} with gt_frame, {len(matches)} of this form; restore the published file"
        )
    for index, ranges in (match.groups() for match in matches):
        number = int(index) if index.isdigit() else max(found, default=0) + 1
        found[number] = [_parse_range(text, path) for text in _split_ranges(ranges)]
    return found


def _split_ranges(ranges: str) -> list[str]:
    return re.sub(r"\s*:\s*", ":", ranges.replace("...", " ")).replace(",", " ").replace(";", " ").split()


def _parse_range(text: str, path: Path) -> tuple[int, int]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise DataError(f"{path}: expected a range of frames such as 61:180, found {text!r}; restore the file")
    first = int(match[1])
    return first - 1, int(match[2] or first)
