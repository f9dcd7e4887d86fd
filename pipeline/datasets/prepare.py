"""From what was downloaded, or recorded, to a dataset that is read where it lies and a settings file.

Archives are unpacked once; folders are read in place; what lies in several places, or in no order of train and test, is
brought together with symbolic links. No pixel is copied.
"""

import fnmatch
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pipeline.config import ConfigError
from pipeline.contract import DataError, Report
from pipeline.datasets.archives import SUFFIXES, Limits, is_archive, no_archive, unpack
from pipeline.datasets.folder import LEFT_OUT, FolderDataset, find_videos
from pipeline.datasets.listing import entries, subfolders

_DEEPEST = 4  # folders between what was named and the dataset
_BESIDE = ("labels", "labels.csv", LEFT_OUT)  # of own recordings


@dataclass(frozen=True, kw_only=True)
class Found:
    """A dataset on disk, as the section [dataset] says it."""

    kind: str
    root: Path
    part: str = ""
    """Of UCSD."""
    benchmark: str = ""
    """Of the common layout, which does not say what it holds."""


def gather(
    name: str,
    sources: Sequence[Path],
    target: Path,
    limits: Limits,
    *,
    test: str = "",
    camera_level: int = 1,
    report: Report | None = None,
) -> Found:
    """Unpack, link and find a dataset.

    Parameters
    ----------
    name
        ped1, ped2, avenue, shanghaitech, ubnormal or folder.
    sources
        Archives, folders and label files.
    target
        Where archives are unpacked and links are made.
    test
        Of own recordings without train/ and test/: which are test videos, as a pattern of their paths.
    camera_level
        Of these: which folder of their paths is the camera, 2 of ``2024-06-01/gate/08.mp4``. It comes first in the links.

    Raises
    ------
    DataError
        A source is missing, cannot be unpacked, or none of them holds the dataset.
    ConfigError
        ``test`` is missing or of no use, or a recording lies in fewer folders.
    """
    for source in sources:
        if not source.exists():
            raise DataError(f"{source}: expected an archive or a folder, found nothing there")
    if name != "folder":
        return find_dataset(name, _bring_together(name, sources, target, limits, report))
    root = _bring_together(name, sources, target / "recordings", limits, report)
    if not test:
        return _own_folder(root)
    if target.resolve() in (root.resolve(), *root.resolve().parents) and root != target / "recordings":
        raise ConfigError(f"{target}: expected a folder apart from the recordings to make links in; choose one with --to")
    _link_splits(root, target, test, camera_level)
    return Found(kind="folder", root=target)


def _bring_together(
    name: str, sources: Sequence[Path], target: Path, limits: Limits, report: Report | None
) -> Path:
    """Return the folder that holds everything: the only one that was named, or ``target``."""
    archives = [source for source in sources if is_archive(source)]
    if not archives and len(sources) == 1 and sources[0].is_dir():
        return sources[0]
    for archive in archives:
        unpack(archive, target, limits, report)
    for source in (source for source in sources if source not in archives):
        if source.is_dir():
            _link_folder(target, source)
        elif source.suffix in (".npy", ".mat", ".m", ".txt", ".csv"):
            link(target / source.name, source)
        elif source.name.lower().endswith(SUFFIXES):
            raise no_archive(source)
        else:
            known = " ".join(SUFFIXES)
            raise DataError(f"{source}: expected an archive ({known}), a folder or a file of labels, found none of these")
    return target


def _link_folder(target: Path, source: Path) -> None:
    """Link a folder into the target, under another name where an archive brought one of its name.

    Lists of UBnormal's videos are linked for themselves: they are looked for in scripts/ beside the scenes.
    """
    place = target / source.absolute().name
    if place.is_dir() and not place.is_symlink() and not place.samefile(source):
        place = place.with_name(f"{place.name}-linked")
    link(place, source)
    if any(source.glob("scripts/*_video_names.txt")):
        link(target / "scripts", source / "scripts")


def link(place: Path, source: Path) -> None:
    """Make ``place`` a symbolic link to a file or folder; what is that already is left.

    Raises
    ------
    DataError
        Something else lies there.
    """
    source = source.absolute()
    if place.resolve() == source.resolve():
        return
    if place.is_symlink() or place.exists():
        raise DataError(f"{place}: expected nothing here, or a link to {source}, found something else; move it away")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(source, target_is_directory=source.is_dir())


def find_dataset(name: str, root: Path) -> Found:
    """Return where below ``root`` a published dataset lies, and in which of its layouts.

    Raises
    ------
    DataError
        It is not there, or several times.
    """
    found = [place for folder in _folders(root, _DEEPEST) if (place := _FINDERS[name](folder))]
    found = [place for place in found if place.kind != "frames"] or found
    named = [place for place in found if name in place.root.name.lower()]
    if len(found) > 1 and len(named) == 1:
        found = named
    if len(found) > 1 and {place.root.resolve() for place in found} != {found[0].root.resolve()}:
        places = ", ".join(str(place.root) for place in found[:3])
        raise DataError(f"{root}: expected {name} once, found it in {places}; name one of these folders")
    if not found:
        listed = ", ".join(sorted(entry.name for entry in entries(root))[:5]) or "nothing"
        raise DataError(
            f"{root}: expected {name} as published, or with training/frames and testing/frames, found {listed}; "
            f"`stpa data prepare {name}` says what to get, and docs/datasets.md what it looks like"
        )
    return found[0]


def _folders(root: Path, deepest: int) -> Iterator[Path]:
    yield root
    if deepest:
        for folder in _few(subfolders(root)):
            yield from _folders(folder, deepest - 1)


def _few(folders: list[Path], most: int = 50) -> list[Path]:
    """Return folders among which a dataset may lie: where there are hundreds, they are its videos."""
    return folders if len(folders) <= most else []


def _holds(folder: Path, *titles: str) -> bool:
    return all((folder / title).is_dir() for title in titles)


def _common(name: str, folder: Path) -> Found | None:
    if not _holds(folder, "training/frames", "testing/frames"):
        return None
    return Found(kind="frames", root=folder, benchmark=name)


def _ucsd(part: str, folder: Path) -> Found | None:
    other = {"ped1": "ped2", "ped2": "ped1"}[part]
    if _holds(folder, "Train", "Test"):
        return None if other in folder.name.lower() else Found(kind="ucsd", root=folder, part=part)
    return None if other in folder.name.lower() else _common(part, folder)


def _avenue(folder: Path) -> Found | None:
    if _holds(folder, "training_videos", "testing_videos"):
        return Found(kind="avenue", root=folder)
    return _common("avenue", folder)


def _shanghaitech(folder: Path) -> Found | None:
    own = ("training/videos", "testing/test_frame_mask", "testing/test_pixel_mask")
    if _holds(folder, "testing/frames") and any(_holds(folder, title) for title in own):
        return Found(kind="shanghaitech", root=folder)
    return _common("shanghaitech", folder)


def _ubnormal(folder: Path) -> Found | None:
    scenes = any(re.fullmatch(r"Scene\d+", path.name, re.ASCII) for path in _few(subfolders(folder)))
    return Found(kind="ubnormal", root=folder) if scenes else _common("ubnormal", folder)


_FINDERS: Mapping[str, Callable[[Path], Found | None]] = MappingProxyType(
    {
        "ped1": lambda folder: _ucsd("ped1", folder),
        "ped2": lambda folder: _ucsd("ped2", folder),
        "avenue": _avenue,
        "shanghaitech": _shanghaitech,
        "ubnormal": _ubnormal,
    }
)
NAMES = (*_FINDERS, "folder")


def _own_folder(root: Path) -> Found:
    for folder in (root, *_few(subfolders(root))):
        if (folder / "train").is_dir():
            return Found(kind="folder", root=folder)
    raise ConfigError(
        f"{root}: expected train/ (and test/) in it, found none; say which recordings are not for training, such as "
        "--test 'gate/2024-06-*', and links will be made"
    )


def _link_splits(root: Path, target: Path, test: str, camera_level: int) -> None:
    """Make ``target/train`` and ``target/test`` of links to recordings, and links to what lies beside them."""
    recordings = [video for video in find_videos(root, "train") if video.id.partition("/")[0] not in _BESIDE]
    chosen = {video.id for video in recordings if fnmatch.fnmatchcase(video.id, test)}
    if not chosen or len(chosen) == len(recordings):
        known = ", ".join(video.id for video in recordings[:3]) or "none"
        what = "none" if not chosen else "all"
        raise ConfigError(f"--test {test!r}: expected some of {len(recordings)} recordings ({known} ...), it fits {what}")
    found = [video.files[0].parent if video.is_folder else video.files[0] for video in recordings]
    places = [_camera_first(source.relative_to(root), camera_level) for source in found]
    tops = [target / split for split in ("train", "test")]
    for top in tops:
        if top.is_symlink():  # what lies there is somebody's own
            raise ConfigError(f"{top}: expected a folder to make links in, found a link to another; choose one with --to")
    for top in tops:
        _remove_links(top, root)
    for video, source, place in zip(recordings, found, places, strict=True):
        link(target / ("test" if video.id in chosen else "train") / place, source)
    for beside in _BESIDE:
        if (root / beside).exists():
            link(target / beside, root / beside)


def _camera_first(place: Path, level: int) -> Path:
    """Return a path with its folder number ``level`` first: the folders of train/ and test/ are cameras."""
    folders = place.parts[:-1]
    if level == 1:
        return place
    if len(folders) < level:
        raise ConfigError(
            f"--camera-level {level}: expected recordings in {level} folders, of which the last is the camera, found "
            f"{place}; move it, or leave the option out"
        )
    return Path(folders[level - 1], *folders[: level - 1], *folders[level:], place.name)


def _remove_links(top: Path, root: Path) -> None:
    """Remove the links to recordings below ``root`` that an earlier call made, and folders that are empty without them."""
    found = [Path(folder, name) for folder, folders, files in os.walk(top) for name in (*folders, *files)]
    for place in found:
        if place.is_symlink() and _leads_below(place, root):
            place.unlink()
            while (place := place.parent) != top and not any(place.iterdir()):
                place.rmdir()


def _leads_below(link: Path, root: Path) -> bool:
    """Say whether a link names something below a folder, however either is written, and whether it is there still."""
    named = link.readlink()
    return named.is_relative_to(root.absolute()) or named.parent.resolve().is_relative_to(root.resolve())


def cameras_of(root: Path) -> list[str]:
    """Return the cameras of a folder of recordings."""
    return FolderDataset(root).cameras()
