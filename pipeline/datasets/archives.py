"""Unpacking downloaded archives, which are not trusted.

1. Every entry's name is checked: it stays below the target, and is a file or a folder. Links and devices are refused.
2. Files are written below a side folder beside the target, each under a side name until it is whole.
3. Bytes are counted as they are written, whatever the archive claims, against limits and the free disk.
4. Once everything is there it is moved to its place, and a note says which archive it was, and what it held.

What was stopped goes on at step 2 with the first file that is missing; of what is refused the side folder is removed; what
was finished is done again only where it was removed since. Archives inside an archive are unpacked where they lie, once,
under the same limits.
"""

import json
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from gzip import BadGzipFile
from hashlib import blake2b
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.contract import DataError, Report
from pipeline.files import PARTIAL, write_json

_BLOCK = 1 << 20  # bytes
_NOTE = ".unpacked"
_LITTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini", ".DS_Store"})
_NESTED = 2  # levels of archives within archives
_KEPT_FREE = 1 << 30  # bytes of a disk that are left alone
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, BadGzipFile, zlib.error, LZMAError),
    *(EOFError, NotImplementedError, RuntimeError, ValueError),
)
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
UNREADABLE = {".rar": "mkdir {folder} && unrar x {archive} {folder}/", ".7z": "7z x -o{folder} {archive}"}


@dataclass(kw_only=True)
class Limits:
    """What an archive may unpack to; what was written so far is counted here, over nested archives too."""

    max_bytes: int = 300 * 10**9
    max_files: int = 2_000_000
    max_ratio: float = 200.0
    """Unpacked size over the archive's, beyond the first gigabytes: what unpacks to more is made to fill disks."""
    free_ratio_bytes: int = 2 * 10**9
    written: int = field(default=0, init=False)
    files: int = field(default=0, init=False)

    def add(self, size: int, archive: Path, archive_bytes: int) -> None:
        """Count bytes that are about to be written; raises DataError beyond a limit."""
        self.written += size
        if self.written > self.max_bytes:
            raise DataError(
                f"{archive}: expected at most {self.max_bytes:,} bytes unpacked, found more; if that is right, raise "
                "--max-gigabytes"
            )
        if self.written > max(self.free_ratio_bytes, self.max_ratio * archive_bytes):
            raise DataError(
                f"{archive}: expected at most {self.max_ratio:g} times its {archive_bytes:,} bytes unpacked, found more, as "
                "in archives made to fill disks; if you trust it, unpack it yourself and name the folder"
            )

    def add_file(self, archive: Path) -> None:
        """Count a file; raises DataError beyond the limit."""
        self.files += 1
        if self.files > self.max_files:
            raise DataError(f"{archive}: expected at most {self.max_files:,} files, found more; unpack it yourself")


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One file or folder of an archive."""

    place: PurePosixPath
    size: int
    content: IO[bytes] | None
    """None for a folder."""


def is_archive(path: Path) -> bool:
    """Say whether a file is an archive that can be unpacked here, by its content.

    Raises
    ------
    DataError
        It is of a kind for which another program is needed; the command is named.
    """
    if not path.is_file():
        return False
    if command := UNREADABLE.get(path.suffix.lower()):
        call = command.format(archive=path, folder=path.with_suffix(""))
        raise DataError(
            f"{path}: expected a zip or tar archive, found {path.suffix}, for which Python has no reader; unpack it with\n"
            f"    {call}\nand name the folder in place of the archive"
        )
    return zipfile.is_zipfile(path) or (path.name.lower().endswith(SUFFIXES) and tarfile.is_tarfile(path))


def no_archive(path: Path) -> DataError:
    """Return what to say of a file that is an archive by its name only."""
    suffix = next(suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix))
    with path.open("rb") as file:
        head = file.read(12)
    likely = "a web page" if head.lstrip()[:1] == b"<" else "cut off"
    return DataError(
        f"{path}: expected a {suffix} archive as its name says, found {path.stat().st_size:,} bytes that begin with "
        f"{head!r} (most likely {likely}); download it again"
    )


def unpack(archive: Path, target: Path, limits: Limits, report: Report | None = None) -> bool:
    """Unpack an archive, and those in it, into a folder; False if that was done before, and all of it still lies there.

    Raises
    ------
    DataError
        It is damaged, encrypted, larger than allowed, or an entry would lie outside the folder; nothing is left of it. Or
        something else lies in its place: what was unpacked waits beside it, and the same call goes on once that is moved.
    OSError
        The disk is full or cannot be written to; the same call goes on from there.
    """
    name = _identity(archive)
    note = target / f"{_NOTE}-{name}.json"
    if _still_there(note):
        return False
    side = target / f"{PARTIAL}{name}"
    side.mkdir(parents=True, exist_ok=True)
    try:
        _extract(archive, side, limits, report)
        for _ in range(_NESTED):
            if not _unpack_nested(side, limits, report):
                break
    except DataError:  # going on would fail in the same place
        shutil.rmtree(side)
        raise
    found = {"archive": str(archive), "files": limits.files, "bytes": limits.written, "holds": _holds(side)}
    _merge(side, target, archive)
    shutil.rmtree(side)
    write_json(note, found)
    return True


def _holds(side: Path) -> list[str]:
    """Return the outermost folders of an archive, below one that holds everything; its files where it has no folders."""
    folder = side
    while len(found := sorted(folder.iterdir())) == 1 and found[0].is_dir():
        folder = found[0]
    folders = [path for path in found if path.is_dir()]
    return [str(path.relative_to(side)) for path in folders or found]


def _still_there(note: Path) -> bool:
    """Say whether an archive was unpacked, and its folders are there still: single files may be gone on purpose."""
    if not note.exists():
        return False
    held = json.loads(note.read_text(encoding="utf-8")).get("holds", [])  # of earlier versions it is not known
    return all((note.parent / name).exists() for name in held)


def _identity(archive: Path) -> str:
    """Return a short name for an archive's content: its size, its beginning and its end."""
    hasher = blake2b(digest_size=8)
    with archive.open("rb") as file:
        hasher.update(file.read(_BLOCK))
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _BLOCK))
        hasher.update(file.read(_BLOCK) + str(size).encode())
    return hasher.hexdigest()


def _unpack_nested(folder: Path, limits: Limits, report: Report | None) -> bool:
    found = [path for path in sorted(folder.rglob("*")) if path.name.lower().endswith(SUFFIXES) and path.is_file()]
    for path in filter(is_archive, found):
        _extract(path, path.parent, limits, report)
        path.unlink()
    return bool(found)


def _extract(archive: Path, folder: Path, limits: Limits, report: Report | None) -> None:
    archive_bytes = archive.stat().st_size
    seen: set[PurePosixPath] = set()
    try:
        with _opened(archive) as (entries, position):
            for entry in entries:
                if entry.place in seen and entry.content is not None:
                    raise DataError(f"{archive}: expected every file once, found {entry.place} twice; get the archive again")
                seen.add(entry.place)
                _write(entry, folder, archive, archive_bytes, limits)
                if report:
                    report(f"unpacking {archive.name}, MB", position() / 1e6, archive_bytes / 1e6)
    except _DAMAGE as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{archive}: expected a whole archive, found: {error}; download it again") from error


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[Iterator[_Entry], Callable[[], int]]]:
    with archive.open("rb") as raw:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(raw) as opened:
                yield _zip_entries(opened, archive), raw.tell
        else:
            with tarfile.open(fileobj=raw, mode="r:*") as opened_tar:
                yield _tar_entries(opened_tar, archive), raw.tell


def _zip_entries(opened: zipfile.ZipFile, archive: Path) -> Iterator[_Entry]:
    for info in opened.infolist():
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _no_plain_file(archive, info.filename)
        if info.flag_bits & 1:
            raise DataError(f"{archive}: expected files without a password, found {info.filename}; unpack it yourself")
        place = _checked(info.filename, archive)
        if place is None:
            continue
        if info.is_dir():
            yield _Entry(place=place, size=0, content=None)
        else:
            with opened.open(info) as content:
                yield _Entry(place=place, size=info.file_size, content=content)


def _tar_entries(opened: tarfile.TarFile, archive: Path) -> Iterator[_Entry]:
    for member in opened:
        if not (member.isreg() or member.isdir()):
            raise _no_plain_file(archive, member.name)
        place = _checked(member.name, archive)
        if place is not None:
            yield _Entry(place=place, size=member.size, content=opened.extractfile(member) if member.isreg() else None)
        opened.members = []  # type: ignore[attr-defined]  # hundreds of thousands of them are not needed again


def _no_plain_file(archive: Path, name: str) -> DataError:
    return DataError(
        f"{archive}: expected files and folders only, found {name!r}, a link or a device, which could lead anywhere; "
        "get the archive again, or unpack it yourself and name the folder"
    )


def _checked(name: str, archive: Path) -> PurePosixPath | None:
    """Return where an entry belongs; None for what operating systems leave behind.

    Raises
    ------
    DataError
        It would lie outside the folder into which it is unpacked.
    """
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or "\0" in name or "\\" in name or ":" in place.parts[:1]:
        raise DataError(f"{archive}: expected names below the folder it is unpacked to, found {name!r}; get it elsewhere")
    if any(part in _LITTER or part.startswith("._") for part in place.parts):
        return None
    return place


def _write(entry: _Entry, folder: Path, archive: Path, archive_bytes: int, limits: Limits) -> None:
    path = folder / entry.place
    if entry.content is None:
        path.mkdir(parents=True, exist_ok=True)
        return
    limits.add_file(archive)
    if path.is_file() and path.stat().st_size == entry.size:  # by an earlier call, which was stopped
        limits.add(entry.size, archive, archive_bytes)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_disk(folder, entry.size, archive)
    side = path.with_name(f"{PARTIAL}{limits.files}")
    written = 0
    with side.open("wb") as file:
        while block := entry.content.read(_BLOCK):
            limits.add(len(block), archive, archive_bytes)
            written += len(block)
            file.write(block)
    if written != entry.size:
        raise DataError(f"{archive}: expected {entry.size} bytes of {entry.place}, found {written}; download it again")
    side.replace(path)


def _check_disk(folder: Path, size: int, archive: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + _KEPT_FREE:
        raise OSError(
            f"{archive}: expected room for a file of {size:,} bytes and {_KEPT_FREE:,} more in {folder}, found {free:,}; "
            "make room, or choose another place with --to"
        )


def _merge(source: Path, target: Path, archive: Path) -> None:
    """Move everything to its place, into folders that are there already where need be."""
    for path in sorted(source.iterdir()):
        place = target / path.name
        if path.is_dir() and place.is_dir() and not place.is_symlink():
            _merge(path, place, archive)
        elif not (place.exists() or place.is_symlink()):
            path.rename(place)
        elif path.is_dir() or not place.is_file() or place.stat().st_size != path.stat().st_size:
            raise DataError(f"{place}: expected nothing here, or what is in {archive}; move it away, or choose --to")
        else:
            path.unlink()
