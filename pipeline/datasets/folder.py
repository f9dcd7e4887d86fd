"""Your own data: any folder of videos, or of folders of frames.

::

    root/
        train/               normal only: lobby.mp4, or lobby/0001.jpg ..., nested as you like
        test/                night/gate.mp4 has the id night/gate
        labels/              optional
            frames/ID.npy    (T,) 0 = normal, 1 = anomalous; labels/ID.npy is read as well
            masks/ID.npz     pixel masks: shape = (T, H, W), mask_bits = np.packbits(masks, axis=-1)
        labels.csv           instead of the .npy files: video,start,end
                             frames start to end - 1, from 0; a video without a line is normal

A folder that holds videos is searched for videos only; images in it are taken for thumbnails. Folders named ``*_gt`` and
hidden files are left aside. Either of train/ and test/ may be missing.
"""

import csv
import difflib
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from pipeline.contract import DataError, Labels, Split, Video
from pipeline.datasets.base import Dataset, Notes
from pipeline.datasets.listing import (
    VIDEO_SUFFIXES,
    entries,
    frame_folder,
    is_folder,
    natural_key,
    printable,
    subfolders,
    suffix,
)
from pipeline.datasets.reader import native_size
from pipeline.datasets.truth import (
    Bools,
    as_labels,
    check_length,
    check_size,
    labels_from_masks,
    load_masks,
    load_npy,
    mark_intervals,
)


class FolderDataset(Dataset):
    """Videos or frame folders below ``train`` and ``test``."""

    kind = "folder"

    def __init__(self, root: Path) -> None:
        self.root = root

    def find_videos(self, notes: Notes) -> Iterator[Video]:
        """See :meth:`Dataset.find_videos`."""
        splits: tuple[Split, ...] = ("train", "test")
        any_found = False
        for split in splits:
            with notes.tolerant():
                for video in find_videos(self.root / split, split):
                    any_found = True
                    yield video
        if not any_found and not notes.problems:
            found = ", ".join(sorted(entry.name for entry in entries(self.root))[:5]) or "nothing"
            raise DataError(
                f"{self.root}: expected videos or folders of frames in train/ and test/, found none ({found}); "
                f"known are {' '.join(sorted(VIDEO_SUFFIXES))}"
            )

    def may_lack(self, split: Split) -> bool:
        """See :meth:`Dataset.may_lack`: recordings may be there to learn from only."""
        return split == "test" and not (self.root / "test").exists()

    def labels(self, video: Video, num_frames: int) -> Labels | None:
        """See :meth:`Dataset.labels`. Without frame labels, frames with any masked pixel are anomalous."""
        if video.split != "test":
            return None
        mask_THW = self._masks(video, num_frames)
        array = self._array_file(video)
        if array is not None:
            frame_T = as_labels(load_npy(array), array)
            check_length(len(frame_T), num_frames, video.id, array)
            return Labels(frame_T=frame_T, source=str(array.relative_to(self.root)), pixel_mask_THW=mask_THW)
        if self._csv is not None:
            frame_T = mark_intervals(self._rows.get(video.id, []), num_frames, video.id, self._csv)
            return Labels(frame_T=frame_T, source=str(self._csv.relative_to(self.root)), pixel_mask_THW=mask_THW)
        if mask_THW is not None:
            return labels_from_masks(mask_THW, str(self._mask_file(video).relative_to(self.root)))
        self._check_none_labelled(video)
        return None

    def label_files(self, video: Video) -> Sequence[Path]:
        """See :meth:`Dataset.label_files`."""
        if video.split != "test":
            return ()
        mask = self._mask_file(video)
        files = (self._array_file(video) or self._csv, mask if mask.is_file() else None)
        return tuple(path for path in files if path is not None)

    def _array_file(self, video: Video) -> Path | None:
        labels = self.root / "labels"
        found = [path for path in (labels / "frames" / f"{video.id}.npy", labels / f"{video.id}.npy") if path.is_file()]
        if found and self._csv is not None:
            found.append(self._csv)
        if len(found) > 1:
            raise DataError(
                f"{found[0]}: expected one source of labels for {video.id}, found {found[1]} too; remove one"
            )
        return found[0] if found else None

    def _mask_file(self, video: Video) -> Path:
        return self.root / "labels" / "masks" / f"{video.id}.npz"

    def _masks(self, video: Video, num_frames: int) -> Bools | None:
        path = self._mask_file(video)
        if not path.is_file():
            return None
        mask_THW = load_masks(path, num_frames, video.id)
        check_size(mask_THW, native_size(video), path)
        return mask_THW

    @cached_property
    def _csv(self) -> Path | None:
        found = [path for path in (self.root / "labels.csv", self.root / "labels" / "labels.csv") if path.is_file()]
        return found[0] if found else None

    @cached_property
    def _rows(self) -> dict[str, list[tuple[int, int]]]:
        known = [video.id for video in self.survey.videos if video.split == "test"]
        return read_csv(self._csv, known) if self._csv else {}

    def _check_none_labelled(self, video: Video) -> None:
        """Labels for some test videos only are a mistake: a frame without a label cannot be scored against one."""
        if self._some_label is not None:
            path = self.root / "labels" / "frames" / f"{video.id}.npy"
            raise DataError(
                f"{path}: expected labels, since other test videos have them ({self._some_label}), found none; "
                "for a normal video write zeros"
            )

    @cached_property
    def _some_label(self) -> Path | None:
        tests = (video for video in self.survey.videos if video.split == "test")
        return next((path for video in tests for path in self.label_files(video)), None)


def read_csv(path: Path, known: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
    """Read lines ``video,start,end``: anomalous from ``start`` to ``end`` (exclusive), counted from 0.

    Raises
    ------
    DataError
        The header or a line is not of this form, or names a video that is not in ``known``; file and line are named.
    """
    rows: dict[str, list[tuple[int, int]]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            header = [name.strip() for name in next(lines, [])]
            if header != ["video", "start", "end"]:
                raise DataError(f"{path}: expected the header video,start,end, found {','.join(header)!r}")
            for cells in filter(any, lines):
                name, interval = _parse_row(cells, f"{path}, line {lines.line_num}", known)
                rows.setdefault(name, []).append(interval)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a CSV file in UTF-8, found: {error}") from error
    return rows


def _parse_row(cells: list[str], line: str, known: Sequence[str]) -> tuple[str, tuple[int, int]]:
    try:
        name, start, end = (cell.strip() for cell in cells)
        interval = int(start), int(end)
    except ValueError:
        raise DataError(f"{line}: expected video,start,end with two whole numbers, found {','.join(cells)!r}") from None
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "ids are paths below test/ without the suffix"
        raise DataError(f"{line}: expected a test video, found {name!r}; {hint}")
    if not 0 <= interval[0] < interval[1]:
        raise DataError(f"{line}: expected 0 <= start < end (end is exclusive), found {start} and {end}")
    return name, interval


def find_videos(top: Path, split: Split) -> Iterator[Video]:
    """Yield the videos below a folder in natural order, as ``root/train`` above; none where there is no such folder."""
    return _walk(top, "", split, ()) if top.is_dir() else iter(())


def _walk(folder: Path, prefix: str, split: Split, parents: tuple[tuple[int, int], ...]) -> Iterator[Video]:
    """Yield the videos of a folder and of those below; links are followed unless they lead back up."""
    stat = folder.stat()
    identity = stat.st_dev, stat.st_ino
    if identity in parents:
        return
    found = entries(folder)
    names = [entry.name for entry in found if suffix(entry.name) in VIDEO_SUFFIXES and not is_folder(entry)]
    for name in sorted(names, key=natural_key):
        yield Video(id=printable(prefix + name.rpartition(".")[0]), split=split, files=(folder / name,))
    below = subfolders(folder, found)
    if not names:
        yield from _own_frames(folder, prefix, split, found, empty=not below)
    for path in below:
        yield from _walk(path, f"{prefix}{path.name}/", split, (*parents, identity))


def _own_frames(
    folder: Path, prefix: str, split: Split, found: Sequence[os.DirEntry[str]], *, empty: bool
) -> Iterator[Video]:
    """Yield the folder itself as a video if it holds images, or nothing at all: the inventory reports that one."""
    video = frame_folder(folder, prefix[:-1], split, found)
    if prefix and (video.files or empty):
        yield video
    elif video.files:
        raise DataError(
            f"{folder}: expected videos or one folder of frames per video, found images; make {folder}/NAME/"
        )
