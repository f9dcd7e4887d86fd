"""UBnormal as published, read for one-class training.

::

    UBnormal/                                               (dataset.root)
        Scene1/normal_scene_1_scenario_1.mp4
        Scene1/abnormal_scene_1_scenario_2.mp4
        Scene1/abnormal_scene_1_scenario_2_annotations/
            abnormal_scene_1_scenario_2_tracks.txt          object,start,end    frames from 0, the last included
            abnormal_scene_1_scenario_2_new_tracks.txt      the same, corrected: preferred where it exists
            abnormal_scene_1_scenario_2_0000_gt.png         id map: the value of a pixel is the object there
        scripts/normal_training_video_names.txt ...         six lists of names, here, in the root or beside it

The lists are in the authors' repository, ``{normal,abnormal}_{training,validation,test}_video_names.txt``. Training is on
the 186 normal training videos, testing on the 53 + 158 test videos. The 82 abnormal training videos and the validation
split are left aside. A frame is anomalous while any track lasts; its pixels are those of the objects whose tracks last.

Source: Acsintoae et al., CVPR 2022.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError, Labels, Masks, Split, Video
from pipeline.datasets.base import Dataset, Notes
from pipeline.datasets.images import decode_image, read_bytes
from pipeline.datasets.listing import entries, printable, subfolders
from pipeline.datasets.reader import native_size
from pipeline.datasets.track_files import Rows, no_rows
from pipeline.datasets.truth import Bools, MaskFiles, check_size, mark_intervals

Track = tuple[int, int, int]
"""Object, first frame and the frame after the last one."""

_LISTS: dict[Split, tuple[str, ...]] = {"train": ("normal_training",), "test": ("normal_test", "abnormal_test")}
_ASIDE = ("abnormal_training", "normal_validation", "abnormal_validation")
_TRACKS = "tracks of UBnormal's objects"
_NAME = re.compile(r"(normal|abnormal)_scene_(\d+)_scenario_\w+", re.ASCII)


class UbnormalDataset(Dataset):
    """Rendered scenes; a split is what its lists name."""

    kind = "ubnormal"

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def benchmark(self) -> str | None:
        """See :attr:`Dataset.benchmark`."""
        return "ubnormal"

    def find_videos(self, notes: Notes) -> Iterator[Video]:
        """See :meth:`Dataset.find_videos`."""
        on_disk = self._on_disk(notes)
        listed: set[str] = set()
        for split, titles in _LISTS.items():
            for title in titles:
                with notes.tolerant():
                    for name in self._names(title):
                        listed.add(name)
                        if name in on_disk:
                            yield Video(id=printable(name), split=split, files=(on_disk[name],))
                        else:
                            notes.problems.append(self._missing(name, title))
        self._note_others(on_disk.keys() - listed, notes)

    def _on_disk(self, notes: Notes) -> dict[str, Path]:
        """Return every video by name."""
        scenes = [folder for folder in subfolders(self.root) if re.fullmatch(r"Scene\d+", folder.name, re.ASCII)]
        found: dict[str, Path] = {}
        for folder in scenes:
            with notes.tolerant():
                for entry in entries(folder):
                    name, _, ending = entry.name.rpartition(".")
                    if ending.lower() == "mp4" and _NAME.fullmatch(name):
                        found[name] = folder / entry.name
        if not scenes:
            what = ", ".join(sorted(entry.name for entry in entries(self.root))[:5]) or "nothing"
            raise DataError(f"{self.root}: expected folders Scene1/, Scene2/ ..., found {what}; set dataset.root to theirs")
        return found

    def _missing(self, name: str, title: str) -> DataError:
        match = _NAME.fullmatch(name)
        folder = f"Scene{match[2]}" if match else "Scene?"
        return DataError(
            f"{self.root / folder / name}.mp4: expected this video, which {title}_video_names.txt lists, found none; "
            "unpack the archive again"
        )

    def _note_others(self, names: set[str], notes: Notes) -> None:
        """Say what is left aside on purpose, and what no list names."""
        for title in _ASIDE:
            path = self._list_file(title)
            aside = names & set(self._names(title)) if path else set()
            if aside:
                notes.remarks.append(f"{path}: {len(aside)} videos are left aside, training is on normal video only")
            names = names - aside
        if names:
            notes.remarks.append(f"{self.root}: {len(names)} videos that no list names are left aside, first {min(names)}")

    def _list_file(self, title: str) -> Path | None:
        places = (self.root, self.root / "scripts", self.root.parent / "scripts")
        return next((path for place in places if (path := place / f"{title}_video_names.txt").is_file()), None)

    def _names(self, title: str) -> list[str]:
        """Return the names in a list of videos; the published lists end without a line break."""
        path = self._list_file(title)
        if path is None:
            raise DataError(
                f"{self.root / 'scripts' / title}_video_names.txt: expected this list of videos here or in the root, found "
                "none; take the six lists from scripts/ of the authors' repository, lilygeorgescu/UBnormal"
            )
        names = [name.strip().removesuffix(".mp4") for name in read_bytes(path).decode("utf-8", "replace").splitlines()]
        wrong = [name for name in names if name and not _NAME.fullmatch(name)]
        if wrong:
            raise DataError(
                f"{path}: expected names like normal_scene_1_scenario_1, found {wrong[0]!r}; restore the published list"
            )
        return list(dict.fromkeys(filter(None, names)))

    def labels(self, video: Video, num_frames: int) -> Labels | None:
        """See :meth:`Dataset.labels`. Videos called ``normal_`` have no annotations, and no anomaly."""
        if video.split != "test":
            return None
        if video.id.startswith("normal_"):
            nothing_HW = np.zeros(native_size(video), np.bool_)
            masks = MaskFiles((num_frames, *nothing_HW.shape), lambda index: nothing_HW)
            return Labels(
                frame_T=np.zeros(num_frames, np.bool_),
                source="normal by name",
                pixel_mask_THW=masks,
                read_tracks=no_rows,
                track_source=_TRACKS,
            )
        path = self._track_file(video)
        tracks = read_tracks(path)
        frame_T = mark_intervals((track[1:] for track in tracks), num_frames, video.id, path)
        found = Labels(frame_T=frame_T, source=path.name, pixel_mask_THW=self._masks(video, tracks, num_frames))
        if found.pixel_mask_THW is None:
            return found
        return replace(found, read_tracks=partial(self._regions, video, tracks), track_source=_TRACKS)

    def label_files(self, video: Video) -> Sequence[Path]:
        """See :meth:`Dataset.label_files`."""
        if video.split != "test" or video.id.startswith("normal_"):
            return ()
        folder = self._annotations(video)
        maps = sorted(entry.name for entry in entries(folder) if entry.name.endswith("_gt.png")) if folder.is_dir() else []
        return (self._track_file(video), *(folder / name for name in maps))

    def _annotations(self, video: Video) -> Path:
        return video.files[0].parent / f"{video.id}_annotations"

    def _track_file(self, video: Video) -> Path:
        """Return the file of tracks; the published one where neither is there, so that reading it says so."""
        folder = self._annotations(video)
        corrected = folder / f"{video.id}_new_tracks.txt"
        return corrected if corrected.is_file() else folder / f"{video.id}_tracks.txt"

    def _masks(self, video: Video, tracks: Sequence[Track], num_frames: int) -> Masks | None:
        """Return masks that are read from id maps when asked for; None where the video has no maps at all."""
        folder = self._annotations(video)
        maps = {entry.name for entry in entries(folder) if entry.name.endswith("_gt.png")}
        names = {frame: f"{video.id}_{frame:04d}_gt.png" for _, start, stop in tracks for frame in range(start, stop)}
        if not maps:
            return None
        if missing := sorted(set(names.values()) - maps):
            raise DataError(
                f"{folder}: expected an id map of each of the {len(names)} frames in tracks, found none of {len(missing)}, "
                f"first {missing[0]}; unpack the annotations again"
            )
        size = native_size(video)

        def read(frame: int) -> Bools:
            if frame not in names:
                return np.zeros(size, np.bool_)
            path = folder / names[frame]
            ids_HW = read_ids(path)
            check_size(ids_HW[None], size, path)
            return np.isin(ids_HW, [number for number, start, stop in tracks if start <= frame < stop])

        return MaskFiles((num_frames, *size), read)

    def _regions(self, video: Video, tracks: Sequence[Track]) -> Rows:
        """Return the box of every object in every frame of its track in which it can be seen; each map is read once."""
        rows: list[tuple[float, ...]] = []
        for frame in sorted({frame for _, start, stop in tracks for frame in range(start, stop)}):
            ids_HW = read_ids(self._annotations(video) / f"{video.id}_{frame:04d}_gt.png")
            for number in sorted({number for number, start, stop in tracks if start <= frame < stop}):
                y_P, x_P = np.nonzero(ids_HW == number)
                if len(y_P):
                    rows.append((number, frame, x_P.min(), y_P.min(), x_P.max(), y_P.max()))
        return np.array(rows, np.float64).reshape(-1, 6)


def read_ids(path: Path) -> NDArray[Any]:
    """Return an id map, (H, W): the value of a pixel is the object there; DataError if it cannot be read."""
    image = decode_image(read_bytes(path), path)
    return image if image.ndim == 2 else np.asarray(image[..., :3].max(axis=2))


def read_tracks(path: Path) -> list[Track]:
    """Read lines ``object,start,end``, frames from 0, the last one included; one number may end in ``.0``.

    Raises
    ------
    DataError
        The file is missing, empty, or a line is of another form.
    """
    tracks = []
    for number, line in enumerate(read_bytes(path).decode("utf-8", "replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            values = [float(cell) for cell in line.split(",")]
            who, start, end = (int(value) for value in values)
            if values != [who, start, end] or not 0 <= start <= end:
                raise ValueError
        except (ValueError, OverflowError):
            found = f"{path}, line {number}: expected object,start,end, found {line.strip()!r}; restore the file"
            raise DataError(found) from None
        tracks.append((who, start, end + 1))
    if not tracks:
        raise DataError(f"{path}: expected tracks of an abnormal video, found an empty file; restore it")
    return tracks
