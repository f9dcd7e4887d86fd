"""What lies in a cache and nobody refers to, and how it goes.

How an artifact is removed:
1. it is locked alone; an artifact that a run writes or reads is left;
2. its folder is renamed to a name that no stage looks for: at any moment it is whole or not there;
3. what was renamed is deleted, receipts first. Interrupted here, the rest is found by its name and goes the next time.
"""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.artifacts.use import alone, last_used, lock_file, used_now
from pipeline.files import PARTIAL

ARTIFACT = re.compile(r"(?P<stage>[a-z][a-z0-9-]*)-(?P<key>[0-9a-f]{16})")
REMOVED = ".removed-"
"""Beginning of the name of what was being deleted."""
DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """Something that may be removed."""

    path: Path
    kind: Literal["artifact", "leftover"]
    """leftover: what an interrupted run or removal left behind."""
    stage: str = ""
    key: str = ""
    size: int
    """Bytes."""
    receipts: int = 0
    written: float
    """Seconds since 1970."""
    used: float | None = None
    """When a run last wrote or read it; None = not recorded."""
    in_use: bool = False

    @property
    def latest(self) -> float:
        """When it was last touched by a run."""
        return max(self.written, self.used or 0)


def artifact_folders(dataset: Path) -> list[Path]:
    """Return the artifacts below the folder of a dataset: never a link, nor a folder that only looks like one."""
    if dataset.is_symlink() or not dataset.is_dir():
        return []
    with os.scandir(dataset) as entries:
        paths = sorted(Path(e.path) for e in entries if ARTIFACT.fullmatch(e.name) and e.is_dir(follow_symlinks=False))
    return [path for path in paths if (path / "manifest.json").is_file() or (path / "receipts").is_dir()]


def find_garbage(datasets: Iterable[Path], kept: Collection[Path], now: float | None = None) -> Iterator[Garbage]:
    """Return the artifacts that are not among ``kept``, and leftovers older than a day, below these folders of datasets."""
    now = time.time() if now is None else now
    for dataset in datasets:
        for folder in artifact_folders(dataset):
            if folder not in kept:
                yield _describe(folder)
        for path in _leftovers(dataset):
            written = path.lstat().st_mtime
            if now - written > DAY or path.name.startswith(REMOVED):
                artifact = _artifact_of(path)
                in_use = artifact is not None and used_now(artifact)
                yield Garbage(path=path, kind="leftover", size=_size(path), written=written, in_use=in_use)


def _describe(folder: Path) -> Garbage:
    match = ARTIFACT.fullmatch(folder.name)
    assert match is not None
    receipts = folder / "receipts"
    return Garbage(
        path=folder,
        kind="artifact",
        stage=match["stage"],
        key=match["key"],
        size=_size(folder),
        receipts=sum(path.suffix == ".json" for path in receipts.iterdir()) if receipts.is_dir() else 0,
        written=(receipts if receipts.is_dir() else folder).stat().st_mtime,
        used=last_used(folder),
        in_use=used_now(folder),
    )


def _leftovers(dataset: Path) -> Iterator[Path]:
    """Yield half-written files and folders, and half-removed artifacts, wherever they lie in a dataset's folder."""
    if dataset.is_symlink() or not dataset.is_dir():
        return
    for parent, folders, files in os.walk(dataset):  # does not follow links
        found = [name for name in (*folders, *files) if name.startswith((PARTIAL, REMOVED))]
        folders[:] = [name for name in folders if name not in found]
        yield from (Path(parent, name) for name in sorted(found))


def _size(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(Path(parent, name).lstat().st_size for parent, _, files in os.walk(path) for name in files)


def remove(garbage: Garbage) -> bool:
    """Remove an artifact or a leftover; return False, having touched nothing, where a run uses it."""
    folder = garbage.path if garbage.kind == "artifact" else _artifact_of(garbage.path)
    if folder is None:
        _delete(garbage.path)
        return True
    with alone(folder) as free:
        if not free:
            return False
        if garbage.kind == "leftover":
            _delete(garbage.path)
            return True
        trash = Path(tempfile.mkdtemp(dir=folder.parent, prefix=REMOVED))
        folder.rename(trash / folder.name)
        lock_file(folder).unlink(missing_ok=True)  # whoever waits for it looks again whether it is there
        _delete(trash / folder.name / "receipts")
        _delete(trash)
    return True


def _artifact_of(path: Path) -> Path | None:
    """Return the artifact in which something lies; None where it lies in none."""
    folders = path.parents
    return next((folder for folder in folders if ARTIFACT.fullmatch(folder.name) and (folder / "receipts").is_dir()), None)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        with suppress(FileNotFoundError):  # somebody else removes it, too
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
