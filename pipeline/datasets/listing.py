"""What lies in a folder: frames in temporal order, sub-folders, and nothing that operating systems leave behind."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from pipeline.contract import DataError, Split, Video

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
RAW_SUFFIXES = frozenset({".264", ".265", ".h264", ".h265", ".hevc"})
"""Video without a container, which does not say its rate."""
VIDEO_SUFFIXES = RAW_SUFFIXES | {
    *(".3g2", ".3gp", ".asf", ".avi", ".flv", ".m2t", ".m2ts", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
    *(".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
}
_BESIDE = frozenset(
    {
        *(".aac", ".ass", ".csv", ".db", ".eaf", ".gif", ".htm", ".html", ".idx", ".ini", ".json", ".log", ".m4a", ".md"),
        *(".mp3", ".nfo", ".npy", ".npz", ".pdf", ".srt", ".sub", ".thm", ".toml", ".txt", ".vtt", ".wav", ".xml", ".yaml"),
        ".yml",
    }
)
"""What lies beside recordings: labels, notes, subtitles, sound, thumbnails."""
_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
_LAST_NUMBER = re.compile(r"(\d+)\D*$", re.ASCII)
_RUNS = re.compile(r"(\d+)", re.ASCII)


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder but hidden files and litter, in no order.

    Raises
    ------
    DataError
        The folder is missing or cannot be listed.
    """
    try:
        with os.scandir(folder) as found:
            return [entry for entry in found if entry.name[0] != "." and entry.name.lower() not in _LITTER]
    except OSError as error:
        raise DataError(f"{folder}: expected a folder that can be listed, found: {error.strerror}") from error


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry is a folder or leads to one; a link that leads nowhere or to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def subfolders(folder: Path, found: Sequence[os.DirEntry[str]] | None = None) -> list[Path]:
    """Return the folders in a folder in natural order, without ``*_gt``, which hold masks beside the frames.

    ``found`` is what :func:`entries` returned, if the folder was listed already.
    """
    found = entries(folder) if found is None else found
    names = [entry.name for entry in found if is_folder(entry) and not entry.name.endswith("_gt")]
    return [folder / name for name in sorted(names, key=natural_key)]


def find_base(root: Path, names: Sequence[str], holds: Iterable[str]) -> Path:
    """Return the root of a dataset, or a folder of one of these names in it: where one of the folders ``holds`` lies.

    Raises
    ------
    DataError
        None does.
    """
    titles = list(holds)
    for folder in (root, *(root / name for name in names)):
        if any((folder / title).is_dir() for title in titles):
            return folder
    found = ", ".join(sorted(entry.name for entry in entries(root))[:5]) or "nothing"
    raise DataError(
        f"{root}: expected {'/ and '.join(titles)}/ here or in {names[0]!r}, found {found}; "
        "set dataset.root to the unpacked folder"
    )


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key by which ``video2`` comes before ``video10``; the name itself breaks ties."""
    runs = _RUNS.split(name)
    return (*((int(run), "") if i % 2 else (-1, run) for i, run in enumerate(runs)), (-1, name))


def frame_number(name: str) -> int | None:
    """Return the last number in a file's name, its suffix left aside; None where there is none."""
    match = _LAST_NUMBER.search(name.rpartition(".")[0])
    return int(match[1]) if match else None


def suffix(name: str) -> str:
    """Return the suffix in lower case, with its dot; faster than pathlib, which matters for 300,000 names."""
    return name[name.rfind(".") :].lower()


def unknown_files(found: Sequence[os.DirEntry[str]]) -> list[str]:
    """Return the names of files that are no video, no image and nothing that lies beside these, in order."""
    known = VIDEO_SUFFIXES | IMAGE_SUFFIXES | _BESIDE
    return sorted(entry.name for entry in found if suffix(entry.name) not in known and not is_folder(entry))


def remark_on_unknown(paths: Sequence[Path]) -> str:
    """Return what there is to say of files that were left aside since their suffixes are not known."""
    kinds = Counter(path.suffix.lower() or "no suffix" for path in paths)
    counts = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common())
    return (
        f"{paths[0]}: expected a video or an image, found another suffix; files left aside: {counts}; if they are "
        "recordings, convert them, or give them the suffix of their format (docs/datasets.md names those that are read)"
    )


@dataclass(frozen=True)
class ImageFiles(Sequence[Path]):
    """Files of one folder by name: a tenth of the time and memory of as many paths, of which hardly any is needed."""

    folder: Path
    names: tuple[str, ...]

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | Sequence[Path]:
        if isinstance(index, slice):
            return ImageFiles(self.folder, self.names[index])
        return self.folder / self.names[index]

    def __len__(self) -> int:
        return len(self.names)


def frame_files(folder: Path, found: Sequence[os.DirEntry[str]] | None = None) -> ImageFiles:
    """Return the images of a folder in the order of their numbers; those without a number come first."""
    names = [entry.name for entry in (entries(folder) if found is None else found) if suffix(entry.name) in IMAGE_SUFFIXES]
    names.sort()
    if not _is_padded(names):
        names.sort(key=lambda name: (frame_number(name) or 0, name))
    return ImageFiles(folder, tuple(names))


def _is_padded(names: Sequence[str]) -> bool:
    """Say whether sorted names differ in one run of digits before the suffix only, all of one width."""
    if not names:
        return True
    start = len(os.path.commonprefix((names[0], names[-1])))  # noqa: RUF071 - characters are meant, not folders
    ending = names[0][names[0].rfind(".") :]
    numbers = "".join([name[start : -len(ending)] for name in names if name.endswith(ending)])
    width = len(names[0]) - len(ending) - start
    one_width = {len(name) for name in names} == {len(names[0])} and len(numbers) == width * len(names)
    return one_width and numbers.isascii() and numbers.isdecimal()


def check_numbering(video: Video) -> None:
    """Check that the frames of a folder are numbered without a gap, from any number on.

    Raises
    ------
    DataError
        A frame is missing, there twice or without a number; the message names it.
    """
    for error in numbering_errors(video):
        raise error


def numbering_errors(video: Video) -> Iterator[DataError]:
    """Yield an error for every frame that is missing, there twice or without a number."""
    previous: tuple[int, str] | None = None
    for i, name in enumerate(file_names(video)):
        number = frame_number(name)
        if number is None:
            yield DataError(
                f"{video.files[i]}: expected a number in the name of every frame, found none; rename or remove it"
            )
            continue
        if previous is not None and number != previous[0] + 1:
            yield _numbering_error(video.files[i], number, *previous)
        previous = number, name


def file_names(video: Video) -> Sequence[str]:
    """Return the names of a video's files, without making a path of each where there is none yet."""
    return video.files.names if isinstance(video.files, ImageFiles) else [path.name for path in video.files]


def _numbering_error(path: Path, number: int, before: int, name: str) -> DataError:
    if number == before:
        return DataError(f"{path}: expected one file per frame, found {name} as well for frame {number}; remove one")
    missing = path.with_name(_renumbered(name, before + 1))
    return DataError(
        f"{missing}: expected this frame after {name}, found {path.name}; restore the {number - before - 1} missing "
        f"frame(s), or number the frames without gaps"
    )


def _renumbered(name: str, number: int) -> str:
    stem, _, ending = name.rpartition(".")
    return f"{_LAST_NUMBER.sub(lambda old: old[0].replace(old[1], f'{number:0{len(old[1])}d}', 1), stem)}.{ending}"


def frame_folder(folder: Path, video_id: str, split: Split, found: Sequence[os.DirEntry[str]] | None = None) -> Video:
    """Return the video whose frames are the images of a folder (none, if it is empty: the inventory reports that)."""
    return Video(id=printable(video_id), split=split, files=frame_files(folder, found), is_folder=True)


def printable(name: str) -> str:
    """Return a name without control characters or undecodable bytes, which terminals and JSON trip over."""
    return "".join(letter if letter.isprintable() else f"%{ord(letter):02X}" for letter in name)


def name_in_full(video: Video) -> str:
    """Return the path of a recording below train/ or test/ with its suffix, if it is a file."""
    recording = video.id if video.cut is None else video.cut.recording
    return recording if video.is_folder else recording + video.files[0].suffix


def sort_videos(videos: Iterable[Video], doubled: Callable[[DataError], object]) -> tuple[Video, ...]:
    """Sort by split and id. Of two videos of a split with one id the first is kept, and ``doubled`` hears of both."""
    seen: dict[tuple[str, str], Video] = {}
    for video in videos:
        other = seen.setdefault((video.split, video.id), video)
        if other is not video:
            error = (
                f"{where(other)}: expected one {video.split} video with the id {video.id!r}, found {_first(video)} too; "
                "rename one"
            )
            doubled(DataError(error))
    return tuple(seen[key] for key in sorted(seen))


def _first(video: Video) -> str:
    return str(video.files[0]) if video.files else f"an empty folder {video.id}"


def where(video: Video) -> str:
    """Return what to call a video in a message: the path of its folder or file."""
    if not video.files:
        return str(video.files.folder) if isinstance(video.files, ImageFiles) else f"{video.split} video {video.id}"
    return str(video.files[0].parent if video.is_folder else video.files[0])
