"""Artifacts below a URL that fsspec knows: ``s3://bucket/prefix``, ``gs://``, ``az://``, ``memory://``.

What an object store does and does not promise, and what follows from it:

* A PUT is whole or not at all, and what was put is there for everybody: files need no side names.
* There is no renaming: a folder is put in place file by file, and what vouches for it is written last.
* There are no locks and no folders; nothing is a symbolic link.

Credentials, endpoints and regions are the business of the library behind the URL: its environment variables and files
(``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ``~/.aws``, ``~/.config/fsspec``).
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pipeline.artifacts.checksums import checksum_of
from pipeline.artifacts.place import Entry, Place
from pipeline.files import connect

if TYPE_CHECKING:
    import zarr
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype


@dataclass(frozen=True)
class UrlPlace(Place):
    """A prefix of an object store."""

    url: str
    """Without a slash at its end."""
    locks: ClassVar[bool] = False

    @classmethod
    def open(cls, url: str) -> Self:
        """Return the place of a URL; nothing is asked for yet, but the library for it must be there (ConfigError)."""
        connect(url)
        return cls(url.rstrip("/"))

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> Self:
        """The prefix without its last part; that of a bucket is itself."""
        above = self.url.rpartition("/")[0]
        return type(self)(above) if not above.endswith("/") else self

    def resolved(self) -> Self:
        """Return the same place."""
        return self

    def __truediv__(self, name: str) -> Self:
        return type(self)(f"{self.url}/{name}" if name else self.url)

    def __str__(self) -> str:
        return self.url

    def _at(self, name: str) -> tuple[Any, str]:
        return connect(f"{self.url}/{name}" if name else self.url)

    def read(self, file: str, start: int | None = None, stop: int | None = None) -> bytes:
        """Return the content of a file, or bytes ``start`` to ``stop`` of it; a negative start counts from its end."""
        system, path = self._at(file)
        with _told(self / file):
            return bytes(system.cat_file(path, start=start, end=stop))

    def write(self, file: str, *data: bytes | memoryview) -> None:
        """Put a file."""
        system, path = self._at(file)
        try:
            with _told(self / file):
                system.pipe_file(path, b"".join(data))
        except FileNotFoundError as error:  # of the bucket
            raise OSError(f"{self / file}: cannot be written: {error}") from error

    def remove(self, name: str = "") -> None:
        """Remove a file, or every file below a folder."""
        system, path = self._at(name)
        with _told(self / name):
            for file in (path, *system.find(path)):
                try:
                    system.rm_file(file)
                except (FileNotFoundError, IsADirectoryError):
                    continue

    def make(self, folder: str) -> None:
        """There are no folders to make."""

    def names(self, folder: str = "") -> list[str]:
        """Return the names of what lies below a prefix: one listing, in pages."""
        system, path = self._at(folder)
        try:
            with _told(self / folder):
                found = system.ls(path, detail=False)
        except FileNotFoundError:
            found = []
        if not found:
            _require_bucket(self.url)
        return [name for name in (str(each).removeprefix(path).strip("/") for each in found) if name]

    def tree(self, folder: str = "") -> Iterator[Entry]:
        """Yield every file below a prefix, sorted by name: one listing, in pages."""
        system, path = self._at(folder)
        with _told(self / folder):
            found = system.find(path, detail=True)
        for name, info in sorted(found.items()):
            yield Entry(name=name.removeprefix(path).strip("/"), size=int(info["size"] or 0), modified=_date(info))

    def is_file(self, file: str) -> bool:
        """Return whether there is such a file."""
        system, path = self._at(file)
        with _told(self / file):
            return bool(system.isfile(path))

    def require(self, file: str) -> None:
        """Arrays refuse to be read without their files, see PlaceStore."""

    def is_folder(self, folder: str = "") -> bool:
        """Return whether anything lies below a prefix."""
        system, path = self._at(folder)
        with _told(self / folder):
            return bool(system.isdir(path))

    def link(self, name: str) -> str:
        """Return that nothing is a link."""
        return ""

    def digest(self, file: str, like: str = "") -> str:
        """Return the checksum of a file."""
        return checksum_of([self.read(file)], like)

    def modified(self, folder: str = "") -> float:
        """Return the date of the newest file below a prefix."""
        return max((entry.modified for entry in self.tree(folder)), default=0.0)

    def free(self) -> int | None:
        """Return None: a bucket does not say."""
        return None

    def array(self, folder: str) -> "zarr.Array[Any]":
        """Open the Zarr array below a prefix."""
        import zarr

        return zarr.open_array(_store(self / folder), mode="r", zarr_format=3)


@contextmanager
def _told(place: UrlPlace) -> Iterator[None]:
    """Turn what a library raises into an OSError that names the place; that a file is not there is told as such."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError):
        raise
    except Exception as error:  # every library has errors of its own
        reason = str(error) or type(error).__name__
        raise OSError(f"{place}: cannot be reached or used: {reason}; check address and credentials") from error


@lru_cache
def _require_bucket(url: str) -> None:
    """Say that a bucket is not there, where a listing of its prefix would only be empty."""
    system, path = connect(url)
    bucket = path.partition("/")[0]  # empty where there are no buckets: memory://
    with _told(UrlPlace(url)):
        there = not bucket or system.exists(bucket)
    if not there:
        raise OSError(f"{url}: expected the bucket {bucket}, found none that can be listed; check its name and credentials")


def _date(info: dict[str, Any]) -> float:
    for key in ("LastModified", "mtime", "updated", "last_modified", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):
            return datetime.fromisoformat(value).timestamp()
    return 0.0


def _store(place: UrlPlace) -> Any:
    """Return a Zarr store that reads through a place; made here, since planning must not wait for the import of Zarr."""
    from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest

    class PlaceStore(Store):
        """Reads only. A shard that is gone or empty is an error, where Zarr would take it for one of fill values."""

        supports_writes = False
        supports_deletes = False
        supports_listing = False

        def __eq__(self, other: object) -> bool:
            return isinstance(other, PlaceStore)

        def _read(self, key: str, byte_range: "ByteRequest | None") -> bytes | None:
            start: int | None = None
            stop: int | None = None
            if isinstance(byte_range, RangeByteRequest):
                start, stop = byte_range.start, byte_range.end
            elif isinstance(byte_range, OffsetByteRequest):
                start = byte_range.offset
            elif isinstance(byte_range, SuffixByteRequest):
                start = -byte_range.suffix
            try:
                data = place.read(key, start, stop)
            except FileNotFoundError:
                if key.startswith("c/"):
                    raise FileNotFoundError(f"{place / key} is gone") from None
                return None
            if not data:
                raise EOFError(f"{place / key} is empty")
            return data

        async def get(
            self, key: str, prototype: "BufferPrototype", byte_range: "ByteRequest | None" = None
        ) -> "Buffer | None":
            data = await asyncio.to_thread(self._read, key, byte_range)
            return None if data is None else prototype.buffer.from_bytes(data)

        async def get_partial_values(
            self, prototype: "BufferPrototype", key_ranges: Iterable[tuple[str, "ByteRequest | None"]]
        ) -> "list[Buffer | None]":
            return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

        async def exists(self, key: str) -> bool:
            return await asyncio.to_thread(place.is_file, key)

        async def set(self, key: str, value: "Buffer") -> None:
            raise NotImplementedError

        async def delete(self, key: str) -> None:
            raise NotImplementedError

        def list(self) -> AsyncIterator[str]:
            raise NotImplementedError

        def list_prefix(self, prefix: str) -> AsyncIterator[str]:
            raise NotImplementedError

        def list_dir(self, prefix: str) -> AsyncIterator[str]:
            raise NotImplementedError

    return PlaceStore(read_only=True)
