"""Where artifacts lie: a folder of this machine or, behind the same few verbs, a prefix of an object store.

Names are relative and have ``/`` between their parts. A file is written whole or not at all, and what was written is
there for everybody when :meth:`Place.write` returns.
"""

import errno
import os
import shutil
import stat
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pipeline.artifacts.checksums import checksum_file
from pipeline.files import write_atomically

if TYPE_CHECKING:
    import zarr


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something in a place."""

    name: str
    """Relative to the folder that was listed."""
    kind: str = "file"
    """file, folder or link; an object store has files only."""
    size: int = 0
    """Bytes."""
    modified: float = 0.0
    """Seconds since 1970."""


class Place(ABC):
    """A folder of the cache, made or not."""

    locks: ClassVar[bool]
    """Whether runs can see who else uses it, see use.py."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The last part of where it lies."""

    @property
    @abstractmethod
    def parent(self) -> Self:
        """The place in which it lies."""

    @abstractmethod
    def resolved(self) -> Self:
        """Return the same place by the one name that all ways to it have."""

    @abstractmethod
    def __truediv__(self, name: str) -> Self: ...

    @abstractmethod
    def read(self, file: str, start: int | None = None, stop: int | None = None) -> bytes:
        """Return the content of a file, or bytes ``start`` to ``stop`` of it; a negative start counts from its end.

        Raises OSError, FileNotFoundError where there is none.
        """

    @abstractmethod
    def write(self, file: str, *data: bytes | memoryview) -> None:
        """Write a file of these parts whole or not at all, never behind a symbolic link; raises OSError."""

    @abstractmethod
    def remove(self, name: str = "") -> None:
        """Remove a file, or a folder with all that it holds; what is not there is no error."""

    @abstractmethod
    def make(self, folder: str) -> None:
        """Make a folder where folders exist of their own; raises OSError where it, or one above it, is a link."""

    @abstractmethod
    def names(self, folder: str = "") -> list[str]:
        """Return the names of what lies in a folder: one listing. Empty where the folder is not there."""

    @abstractmethod
    def tree(self, folder: str = "") -> Iterator[Entry]:
        """Yield everything below a folder, also folders where they exist of their own; never goes into links."""

    @abstractmethod
    def is_file(self, file: str) -> bool:
        """Return whether there is such a file."""

    @abstractmethod
    def require(self, file: str) -> None:
        """Refuse a shard that is gone or empty: Zarr would take it for one of fill values. Raises OSError, EOFError.

        A place whose arrays refuse to be read without the file need not look.
        """

    @abstractmethod
    def is_folder(self, folder: str = "") -> bool:
        """Return whether there is such a folder, of which none above is asked for being a link."""

    @abstractmethod
    def link(self, name: str) -> str:
        """Return the part of a name that is a symbolic link; empty where none is."""

    @abstractmethod
    def digest(self, file: str, like: str = "") -> str:
        """Return the checksum of a file, of the kind of another one, read piece by piece; raises OSError."""

    @abstractmethod
    def modified(self, folder: str = "") -> float:
        """Return when something was last added to a folder, in seconds since 1970; 0 where it is empty or not there."""

    @abstractmethod
    def free(self) -> int | None:
        """Return how many bytes can still be written; None where nothing tells."""

    @abstractmethod
    def array(self, folder: str) -> "zarr.Array[Any]":
        """Open the Zarr array in a folder for reading; raises whatever Zarr raises."""


@dataclass(frozen=True)
class LocalPlace(Place):
    """A folder below a cache on this machine. The cache itself may be a symbolic link, nothing in it is one."""

    root: Path
    below: str = ""
    locks: ClassVar[bool] = True

    @property
    def path(self) -> Path:
        """The folder."""
        return self.root / self.below if self.below else self.root

    @property
    def name(self) -> str:
        """The last part of where it lies."""
        return self.path.name

    @property
    def parent(self) -> Self:
        """The place in which it lies."""
        return type(self)(self.root, self.below.rpartition("/")[0])

    def resolved(self) -> Self:
        """Return the same place below the real path of the cache."""
        return type(self)(self.root.resolve(), self.below)

    def __truediv__(self, name: str) -> Self:
        return type(self)(self.root, f"{self.below}/{name}" if self.below else name)

    def __str__(self) -> str:
        return str(self.path)

    def read(self, file: str, start: int | None = None, stop: int | None = None) -> bytes:
        """Return the content of a file, or a part of it."""
        if start is None:
            return (self.path / file).read_bytes()[:stop]
        with (self.path / file).open("rb", buffering=0) as raw:
            begin = raw.seek(start, os.SEEK_SET if start >= 0 else os.SEEK_END)
            return raw.read(-1 if stop is None else max(0, stop - begin))

    def write(self, file: str, *data: bytes | memoryview) -> None:
        """Write to a side name, flush to disk, rename."""
        path = self.path / file
        self._refuse_links(path.parent)
        write_atomically(path, *data)

    def remove(self, name: str = "") -> None:
        """Remove a file or a folder; of a symbolic link the link itself."""
        path = self.path / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def make(self, folder: str) -> None:
        """Make a folder."""
        path = self.path / folder
        self._refuse_links(path)
        path.mkdir(parents=True, exist_ok=True)

    def _refuse_links(self, folder: Path) -> None:
        """Nothing is written behind a link: a name that somebody else put there must not lead out of the cache."""
        path = self.root
        for part in folder.relative_to(self.root).parts:
            path = path / part
            if path.is_symlink():
                raise OSError(
                    f"{path}: expected a folder of the cache, found a symbolic link to {path.readlink()}; remove it (to "
                    "keep artifacts elsewhere, set run.cache)"
                )

    def names(self, folder: str = "") -> list[str]:
        """Return the names of what lies in a folder."""
        try:
            return os.listdir(self.path / folder)  # noqa: PTH208 - a thousand paths cost more than the listing
        except FileNotFoundError:
            return []

    def tree(self, folder: str = "") -> Iterator[Entry]:
        """Yield everything below a folder, sorted by name in each, a folder before what it holds."""
        try:
            with os.scandir(self.path / folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except FileNotFoundError:  # or removed by a run since its parent was listed
            return
        for entry in entries:
            kind = "link" if entry.is_symlink() else "folder" if entry.is_dir() else "file"
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield Entry(name=entry.name, kind=kind, size=status.st_size, modified=status.st_mtime)
            if kind == "folder":
                for below in self.tree(f"{folder}/{entry.name}" if folder else entry.name):
                    yield Entry(name=f"{entry.name}/{below.name}", kind=below.kind, size=below.size, modified=below.modified)

    def is_file(self, file: str) -> bool:
        """Return whether there is such a file."""
        return (self.path / file).is_file()

    def require(self, file: str) -> None:
        """Refuse a file that is gone or empty."""
        path = self.path / file
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise FileNotFoundError(f"{path} is gone") from None
        if size == 0:
            raise EOFError(f"{path} is empty")

    def is_folder(self, folder: str = "") -> bool:
        """Return whether there is such a folder."""
        return (self.path / folder).is_dir()

    def link(self, name: str) -> str:
        """Return the part of a name that is a symbolic link."""
        path = self.path
        for part in Path(name).parts:
            path = path / part
            if path.is_symlink():
                return str(path.relative_to(self.path))
        return ""

    def digest(self, file: str, like: str = "") -> str:
        """Return the checksum of a file, and of nothing that only looks like one."""
        path = self.path / file
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        return checksum_file(path, like)

    def modified(self, folder: str = "") -> float:
        """Return the date of the folder."""
        try:
            return (self.path / folder).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def free(self) -> int | None:
        """Return the free bytes of the disk."""
        folder = next(path for path in (self.path, *self.path.absolute().parents) if path.is_dir())
        return shutil.disk_usage(folder).free

    def array(self, folder: str) -> "zarr.Array[Any]":
        """Open the Zarr array in a folder."""
        import zarr

        return zarr.open_array(self.path / folder, mode="r", zarr_format=3)


def open_place(location: Path | str) -> Place:
    """Return the place of ``run.cache``: a folder, or a URL that fsspec knows (``file://`` is a folder)."""
    if isinstance(location, Path):
        return LocalPlace(location)
    if location.startswith("file://"):
        return LocalPlace(Path(location.removeprefix("file://")))
    from pipeline.artifacts.url_place import UrlPlace

    return UrlPlace.open(location)


@contextmanager
def local_copy(place: Place, file: str) -> Iterator[Path]:
    """Return the path of a file on this machine, there or not; elsewhere a copy of it, put back if it was changed."""
    if isinstance(place, LocalPlace):
        yield place.path / file
        return
    with tempfile.TemporaryDirectory(prefix="stpa-") as folder:
        path = Path(folder, file)
        before = None
        with suppress(FileNotFoundError):
            before = place.read(file)
            path.write_bytes(before)
        try:
            yield path
        finally:
            if path.is_file() and (after := path.read_bytes()) != before:
                place.write(file, after)
