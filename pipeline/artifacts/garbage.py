"""What lies in a cache and nobody refers to, and how it goes.

How an artifact is removed:
1. it is locked alone; an artifact that a run writes or reads is left;
2. its folder is renamed to a name that no stage looks for: at any moment it is whole or not there;
3. what was renamed is deleted, receipts first. Interrupted here, the rest is found by its name and goes the next time.

On an object store there are neither locks nor renaming. What was written to within a day counts as in use, and receipts go
first, the manifest last: interrupted, it is an artifact with fewer receipts, which goes the next time.
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

from pipeline.artifacts.aside import SCRATCH, local_folder, scratch_folders
from pipeline.artifacts.place import Entry, LocalPlace, Place
from pipeline.artifacts.use import alone, last_used, lock_file, used_now
from pipeline.files import PARTIAL

ARTIFACT = re.compile(r"(?P<stage>[a-z][a-z0-9-]*)-(?P<key>[0-9a-f]{16})")
REMOVED = ".removed-"
"""Beginning of the name of what was being deleted."""
DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """Something that may be removed."""

    place: Place
    kind: Literal["artifact", "gone", "leftover"]
    """gone: what a kept artifact holds of a video that is gone or was replaced; leftover: what an interrupted run or removal
    left behind."""
    artifact: Place | None
    """Whose lock must be free; None where no run can need it."""
    first: tuple[str, ...] = ()
    """Receipts of it in a kept artifact, which go before what they vouch for."""
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


def artifact_places(dataset: Place) -> list[Place]:
    """Return the artifacts below the folder of a dataset: never a link, nor a folder that only looks like one."""
    if dataset.parent.link(dataset.name):
        return []
    names = [name for name in sorted(dataset.names()) if ARTIFACT.fullmatch(name) and not dataset.link(name)]
    places = [dataset / name for name in names]
    return [place for place in places if place.is_file("manifest.json") or place.is_folder("receipts")]


def find_garbage(datasets: Iterable[Place], kept: Collection[Place], now: float | None = None) -> Iterator[Garbage]:
    """Return the artifacts that are not among ``kept``, and leftovers older than a day, below these folders of datasets."""
    now = time.time() if now is None else now
    for dataset in datasets:
        for place in artifact_places(dataset):
            if place not in kept:
                yield _describe(place, now)
        here = dataset if isinstance(dataset, LocalPlace) else LocalPlace(local_folder(str(dataset.parent))) / dataset.name
        yield from _find_leftovers(here, {place.name for place in kept}, now, youngest=0 if dataset.locks else DAY)


def _find_leftovers(dataset: LocalPlace, kept: Collection[str], now: float, *, youngest: float) -> Iterator[Garbage]:
    for place in _leftovers(dataset):
        written = place.path.lstat().st_mtime
        if now - written > DAY or place.name.startswith(REMOVED):
            yield _leftover(place, _artifact_of(place), written)
    for scratch in scratch_folders(dataset.path, kept):
        place, written = dataset / f"{SCRATCH}/{scratch.name}", scratch.stat().st_mtime
        if now - written >= youngest:
            yield _leftover(place, dataset / scratch.name, written)


def _leftover(place: LocalPlace, artifact: Place | None, written: float) -> Garbage:
    in_use = artifact is not None and used_now(artifact)
    return Garbage(place=place, kind="leftover", artifact=artifact, size=_size(place), written=written, in_use=in_use)


def _describe(place: Place, now: float) -> Garbage:
    match = ARTIFACT.fullmatch(place.name)
    assert match is not None
    written = place.modified("receipts") or place.modified()
    return Garbage(
        place=place,
        kind="artifact",
        artifact=place,
        stage=match["stage"],
        key=match["key"],
        size=_size(place),
        receipts=sum(name.endswith(".json") for name in place.names("receipts")),
        written=written,
        used=last_used(place),
        in_use=used_now(place) or not (place.locks or now - written > DAY),
    )


def _leftovers(dataset: LocalPlace) -> Iterator[LocalPlace]:
    """Yield half-written files and folders, and half-removed artifacts, wherever they lie in a dataset's folder."""
    if dataset.path.is_symlink() or not dataset.path.is_dir():
        return
    for parent, folders, files in os.walk(dataset.path):  # does not follow links
        found = [name for name in (*folders, *files) if name.startswith((PARTIAL, REMOVED))]
        folders[:] = [name for name in folders if name not in found]
        yield from (dataset / Path(parent, name).relative_to(dataset.path).as_posix() for name in sorted(found))


def _size(place: Place) -> int:
    if isinstance(place, LocalPlace) and not place.path.is_dir():
        return place.path.lstat().st_size
    return sum(entry.size for entry in place.tree() if entry.kind != "folder")


def remove(garbage: Garbage) -> bool:
    """Remove an artifact, a video's part of one or a leftover; return False, having touched nothing, where a run uses it."""
    place, artifact = garbage.place, garbage.artifact
    if artifact is None:
        place.remove()
        return True
    with alone(artifact) as free:
        if not free or (garbage.in_use and not place.locks):
            return False
        if garbage.kind != "artifact":
            for receipt in garbage.first:
                artifact.remove(f"receipts/{receipt}")
            place.remove()
        elif isinstance(place, LocalPlace):
            _rename_and_delete(place)
        else:
            for entry in sorted(place.tree(), key=_last_goes_manifest):
                place.remove(entry.name)
    return True


def _last_goes_manifest(entry: Entry) -> int:
    return 0 if entry.name.startswith("receipts/") else 2 if entry.name == "manifest.json" else 1


def _rename_and_delete(place: LocalPlace) -> None:
    trash = Path(tempfile.mkdtemp(dir=place.path.parent, prefix=REMOVED))
    place.path.rename(trash / place.name)
    file = lock_file(place)
    assert file is not None
    file.unlink(missing_ok=True)  # whoever waits for it looks again whether it is there
    _delete(trash / place.name / "receipts")
    _delete(trash)


def _artifact_of(place: Place) -> Place | None:
    """Return the artifact in which something lies; None where it lies in none."""
    while place.parent != place:
        place = place.parent
        if ARTIFACT.fullmatch(place.name) and place.is_folder("receipts"):
            return place
    return None


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        with suppress(FileNotFoundError):  # somebody else removes it, too
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
