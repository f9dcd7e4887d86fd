"""Datasets behind a URL: listed into a folder of this machine, each file fetched when its content is needed.

    <scratch>/stpa-listed/<quoted URL>/...     a file of the size and date of each one, which takes up no room
    <scratch>/stpa-fetched/<quoted URL>/...    the content of those that were read lately

So layouts find folders and files as they would on a disk, and whatever opens one asks :func:`fetch` for it first. The name
of a listed file says where it came from: a worker on another machine fetches it by that, without a listing. What was fetched
is kept up to ``STPA_SCRATCH_GB`` (default 20); the longest unused goes first. The scratch folder is ``STPA_SCRATCH``, or
stpa in ``XDG_CACHE_HOME`` (``~/.cache``).
"""

import errno
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from pipeline.contract import DataError
from pipeline.files import PARTIAL, connect

LISTED, FETCHED = "stpa-listed", "stpa-fetched"
IN_HAND = 60.0  # seconds for which nothing is removed that somebody asked for: it may be about to be opened
_fetched_bytes = 0  # by this process, since it last looked how much there is


def scratch() -> Path:
    """Return the folder of this machine for what can be fetched again."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("STPA_SCRATCH") or home / "stpa")


def local_root(root: Path | str) -> Path:
    """Return the folder of a dataset; behind a URL it is listed, and the folder of that listing returned.

    Raises
    ------
    DataError
        Nothing lies there, or under names that no folder can have.
    OSError
        It cannot be reached.
    """
    if isinstance(root, Path):
        return root
    if root.startswith("file://"):
        return Path(root.removeprefix("file://"))
    url = root.rstrip("/")
    folder = scratch() / LISTED / quote(url, safe="")
    found = _list(url)
    for name, (size, date) in found.items():
        _stand_in(folder / name, size, date)
    _remove_others(folder, {str(folder / name) for name in found})
    return folder


def is_listed(path: Path) -> bool:
    """Return whether a path is one of a listing: its date says all about its content, whenever it was listed."""
    return f"/{LISTED}/" in str(path)


def fetch(path: Path) -> Path:
    """Return where the content of a file of a dataset lies on this machine: itself, or a copy that is fetched if need be.

    Raises
    ------
    OSError
        It cannot be fetched.
    """
    _, mark, rest = str(path).partition(f"/{LISTED}/")
    if not mark:
        return path
    quoted, _, name = rest.partition("/")
    url = f"{unquote(quoted)}/{name}"
    target = scratch() / FETCHED / quoted / name
    try:
        size, date = _wanted(path, url)
        with suppress(FileNotFoundError):
            status = target.stat()
            if (status.st_size, status.st_mtime_ns) == (size, date):
                os.utime(target, ns=(time.time_ns(), date))
                return target
        _copy(url, target, date)
        if (size, date) not in _told_both_ways(url):
            target.unlink()
            raise OSError(errno.ESTALE, "it was replaced since it was listed; run the command again")
    except OSError as error:
        raise OSError(errno.EIO, f"it cannot be fetched from {url} ({error.strerror or error})", str(path)) from error
    except Exception as error:  # every library has errors of its own
        raise OSError(errno.EIO, f"it cannot be fetched from {url} ({error})", str(path)) from error
    _make_room(size)
    return target


def _list(url: str) -> dict[str, tuple[int, int]]:
    """Return name -> size and date of every file below a URL."""
    system, path = connect(url)
    try:
        found = system.find(path, detail=True)
    except Exception as error:  # every library has errors of its own
        raise OSError(f"{url}: cannot be listed: {error or type(error).__name__}; check address and credentials") from error
    names = {name.removeprefix(path).strip("/"): info for name, info in found.items() if not name.endswith("/")}
    if not names:
        raise DataError(f"{url}: expected the files of a dataset, found none; set dataset.root to where they lie")
    for name in names:
        if "\0" in name or {"", ".", ".."} & set(name.split("/")):
            raise DataError(f"{url}: expected names that a folder can have, found {name!r}; rename it")
    return {name: (int(info["size"] or 0), _date(info)) for name, info in names.items()}


def _date(info: dict[str, Any]) -> int:
    """Return a date in nanoseconds: seconds as the store tells them, below them a hash of what else identifies content.

    Where something does, fractions of a second do not count: some stores tell them only when they list.
    """
    told = next((info[key] for key in ("LastModified", "mtime", "updated", "created") if info.get(key)), 0)
    seconds = told.timestamp() if hasattr(told, "timestamp") else float(told) if isinstance(told, int | float) else 0.0
    tags = [info.get(key) for key in ("ETag", "etag", "md5Hash", "generation")]
    identity = repr([int(seconds) if any(tags) else seconds, *tags])
    below = int.from_bytes(blake2b(identity.encode(), digest_size=4).digest(), "big") % 1_000_000_000
    return int(seconds) * 1_000_000_000 + below


def _stand_in(path: Path, size: int, date: int) -> None:
    """Write a file of this size and date that takes up no room."""
    with suppress(OSError):
        status = path.stat()
        if (status.st_size, status.st_mtime_ns) == (size, date):
            return
    try:
        with _beside(path) as side:
            os.truncate(side, size)
            os.utime(side, ns=(date, date))
            side.replace(path)
    except OSError as error:
        raise DataError(f"{path}: expected a name that a folder can have ({error.strerror}); rename it") from error


def _remove_others(folder: Path, kept: set[str]) -> None:
    """Remove what a listing of before left and is there no longer."""
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in files:
            if os.path.join(parent, name) not in kept and not name.startswith(PARTIAL):  # noqa: PTH118 - 300,000 of them
                Path(parent, name).unlink(missing_ok=True)
        for name in folders:
            with suppress(OSError):  # it is not empty
                Path(parent, name).rmdir()


def _wanted(path: Path, url: str) -> tuple[int, int]:
    """Return size and date of a file as it was listed; where it was not, on another machine, as it is now."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return _told(url)
    return status.st_size, status.st_mtime_ns


def _told(url: str) -> tuple[int, int]:
    """Return size and date of a file as its store tells them now."""
    system, remote = connect(url)
    info = system.info(remote)
    return int(info["size"]), _date(info)


def _told_both_ways(url: str) -> Iterator[tuple[int, int]]:
    """Return size and date as asked for and then, as some stores tell dates more exactly there, as listed."""
    yield _told(url)
    system, remote = connect(url)
    info = system.find(remote.rpartition("/")[0], maxdepth=1, detail=True).get(remote)
    if info is not None:
        yield int(info["size"] or 0), _date(info)


def _copy(url: str, target: Path, date: int) -> None:
    system, remote = connect(url)
    with _beside(target) as side:
        system.get_file(remote, str(side))
        os.utime(side, ns=(time.time_ns(), date))
        side.replace(target)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Return an empty file beside another one, to be put in its place or to go away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _make_room(size: int) -> None:
    """Remove what was not used for longest once there is more than the limit; looked at now and then only."""
    global _fetched_bytes
    limit = float(os.environ.get("STPA_SCRATCH_GB") or 20) * 1e9
    _fetched_bytes += size
    if _fetched_bytes < limit / 20:
        return
    _fetched_bytes = 0
    found = []
    for parent, _, files in os.walk(scratch() / FETCHED):
        for name in files:
            with suppress(OSError):  # somebody else removes it, too
                status = Path(parent, name).stat()
                found.append((status.st_atime, status.st_size, Path(parent, name)))
    total = sum(size for _, size, _ in found)
    for used, size, path in sorted(found):
        if total <= limit or used > time.time() - IN_HAND:
            return
        path.unlink(missing_ok=True)
        total -= size
