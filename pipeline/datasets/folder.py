"""Your own data: any folder of videos, or of folders of frames.

::

    root/
        train/               normal only: lobby.mp4, or lobby/0001.jpg ..., nested as you like
        test/                night/gate.mp4 has the id night/gate
        left_out.csv         optional: video,start,end of stretches that do not count; train/ID or test/ID where both have ID
        labels/              optional
            frames/ID.npy    (T,) 0 = normal, 1 = anomalous; labels/ID.npy is read as well
            elan/ID.eaf      instead: what was marked in ELAN; labels/ID.eaf is read as well
            masks/ID.npz     pixel masks: shape = (T, H, W), mask_bits = np.packbits(masks, axis=-1)
            tracks/ID.txt    true regions, see track_files.py
        labels.csv           instead of the .npy and .eaf files: video,start,end; a video without a line is normal

Frames and seconds in tables and labels are those of the recordings (time_tables.py), whatever ``dataset.fps`` and
left_out.csv make of these. A folder of train/ or test/ is a camera: ``dataset.camera`` chooses among them. What is left out
in the middle of a recording makes two videos of it, ID@1 and ID@2: no clip and no flow reaches over the gap.

A folder that holds videos is searched for videos only; images in it are taken for thumbnails. Folders named ``*_gt`` and
hidden files are left aside. Either of train/ and test/ may be missing.
"""

import fnmatch
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from pipeline.contract import Cut, DataError, Labels, Split, Video
from pipeline.datasets.base import Dataset, Notes
from pipeline.datasets.cuts import parts_without
from pipeline.datasets.folder_labels import FolderLabels
from pipeline.datasets.listing import (
    VIDEO_SUFFIXES,
    entries,
    frame_folder,
    is_folder,
    name_in_full,
    natural_key,
    printable,
    remark_on_unknown,
    subfolders,
    suffix,
    unknown_files,
)
from pipeline.datasets.time_tables import Stretch, read_table

LEFT_OUT = "left_out.csv"


class FolderDataset(Dataset):
    """Videos or frame folders below ``train`` and ``test``.

    Parameters
    ----------
    root
        The folder with train/ and test/.
    camera
        Pattern of the folders of train/ and test/ that count.
    fps
        Frames per second to which recordings are thinned out; None: as recorded.
    damaged
        Whether what can be decoded of recordings that were cut off is used.
    """

    kind = "folder"

    def __init__(self, root: Path, *, camera: str = "*", fps: float | None = None, damaged: bool = False) -> None:
        self.root = root
        self.camera = camera
        self.fps = fps
        self.damaged = damaged

    def find_videos(self, notes: Notes) -> Iterator[Video]:
        """See :meth:`Dataset.find_videos`."""
        recordings = self._recordings(notes)
        if not recordings and not notes.problems:
            found = ", ".join(sorted(entry.name for entry in entries(self.root))[:5]) or "nothing"
            raise DataError(
                f"{self.root}: expected videos or folders of frames in train/ and test/, found none ({found}); "
                f"known are {' '.join(sorted(VIDEO_SUFFIXES))}"
            )
        left_out: Mapping[str, Sequence[Stretch]] = {}
        with notes.tolerant():
            left_out = self._left_out(recordings)
        chosen = [video for video in recordings if self.camera == "*" or fnmatch.fnmatchcase(camera_of(video), self.camera)]
        if recordings and not chosen:
            known = ", ".join(dict.fromkeys(camera_of(video) for video in recordings if camera_of(video))) or "none"
            raise DataError(f"{self.root}: expected a camera like {self.camera!r} (dataset.camera), found {known}")
        kept: set[Split] = set()
        for video in chosen:
            with notes.tolerant():
                for part in self._parts(video, left_out.get(_name(video), ())):
                    kept.add(part.split)
                    yield part
        for split in sorted({video.split for video in chosen if left_out and not notes.problems} - kept):
            notes.remarks.append(f"{self.root / LEFT_OUT}: leaves nothing of the {split} recordings; leave out less of them")

    def _recordings(self, notes: Notes) -> list[Video]:
        splits: tuple[Split, ...] = ("train", "test")
        found: list[Video] = []
        unknown: list[Path] = []
        for split in splits:
            with notes.tolerant():
                found.extend(find_videos(self.root / split, split, unknown))
        if unknown:
            notes.remarks.append(remark_on_unknown(unknown))
        return found

    def cameras(self) -> list[str]:
        """Return the folders of train/ and test/, in natural order; recordings in none of them belong to no camera."""
        found = {camera_of(video) for video in self._recordings(Notes())}
        return sorted(found - {""}, key=natural_key)

    def _left_out(self, recordings: Sequence[Video]) -> Mapping[str, Sequence[Stretch]]:
        path = self.root / LEFT_OUT
        if not path.is_file():
            return {}
        known: dict[str, str] = {}
        for name in (name_in_full, _id):  # an id goes before the full name of another recording
            names = Counter(map(name, recordings))
            known |= {name(video): _name(video) for video in recordings if names[name(video)] == 1}
            known |= {f"{video.split}/{name(video)}": _name(video) for video in recordings}
        return read_table(path, known, open_end=True)

    def _parts(self, video: Video, left_out: Sequence[Stretch]) -> Iterator[Video]:
        """Yield what remains of a recording."""
        cut = Cut(recording=video.id, fps=self.fps, damaged=self.damaged)
        if not left_out:
            yield replace(video, cut=cut) if cut.selects or cut.damaged else video
            return
        if len({stretch.start.unit for stretch in left_out}) > 1:  # a line has one unit
            raise DataError(f"{self.root / LEFT_OUT}: expected frames or seconds for {video.id}, found both; use either")
        parts = parts_without([(stretch.start, stretch.end) for stretch in left_out])
        for number, (start, stop) in enumerate(parts, start=1):
            name = f"{video.id}@{number}" if len(parts) > 1 else video.id
            yield replace(video, id=name, cut=replace(cut, start=start, stop=stop))

    def may_lack(self, split: Split) -> bool:
        """See :meth:`Dataset.may_lack`: recordings may be there to learn from only."""
        return split == "test" and not (self.root / "test").exists()

    def labels(self, video: Video, num_frames: int) -> Labels | None:
        """See :meth:`Dataset.labels`. Without frame labels, frames with any masked pixel are anomalous."""
        return self._labels.read(video, num_frames) if video.split == "test" else None

    def label_files(self, video: Video) -> Sequence[Path]:
        """See :meth:`Dataset.label_files`."""
        return self._labels.files(video) if video.split == "test" else ()

    @cached_property
    def _labels(self) -> FolderLabels:
        tests = [video for video in self.survey.videos if video.split == "test"]
        if self.camera != "*" or (self.root / LEFT_OUT).is_file():  # a table may name what does not count here
            return FolderLabels(self.root, tests, list(find_videos(self.root / "test", "test")))
        return FolderLabels(self.root, tests, tests)


def camera_of(video: Video) -> str:
    """Return the folder of train/ or test/ in which a recording lies; empty where it lies in none."""
    return video.id.partition("/")[0] if "/" in video.id else ""


def _id(video: Video) -> str:
    return video.id


def _name(video: Video) -> str:
    return f"{video.split}/{video.id}"


def find_videos(top: Path, split: Split, unknown: list[Path] | None = None) -> Iterator[Video]:
    """Yield the videos below a folder in natural order, as ``root/train`` above; none where there is no such folder.

    Files that are left aside, and should be told, are added to ``unknown``.
    """
    return _walk(top, "", split, (), [] if unknown is None else unknown) if top.is_dir() else iter(())


def _walk(
    folder: Path, prefix: str, split: Split, parents: tuple[tuple[int, int], ...], unknown: list[Path]
) -> Iterator[Video]:
    """Yield the videos of a folder and of those below; links are followed unless they lead back up."""
    stat = folder.stat()
    identity = stat.st_dev, stat.st_ino
    if identity in parents:
        return
    found = entries(folder)
    unknown += [folder / name for name in unknown_files(found)]
    names = [entry.name for entry in found if suffix(entry.name) in VIDEO_SUFFIXES and not is_folder(entry)]
    for name in sorted(names, key=natural_key):
        yield Video(id=printable(prefix + name.rpartition(".")[0]), split=split, files=(folder / name,))
    below = subfolders(folder, found)
    if not names:
        yield from _own_frames(folder, prefix, split, found, empty=not below)
    for path in below:
        yield from _walk(path, f"{prefix}{path.name}/", split, (*parents, identity), unknown)


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
