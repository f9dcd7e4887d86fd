"""Writing a file so that it is whole or absent; and the way to files that lie behind a URL."""

import json
import os
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import ConfigError
from pipeline.direct import write_directly

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MOST_PARTS = 1024  # that one call takes (IOV_MAX of Linux)
PARTIAL = ".partial-"
"""What files and folders are called until they are whole."""


def write_atomically(path: Path, *data: bytes | memoryview) -> None:
    """Write to a side name, flush to disk, then rename: a reader sees the old file, the new one, or none.

    Parts of ``data`` lie one after another. All is on disk when this returns: what is written next cannot overtake it.

    Raises
    ------
    OSError
        It cannot be written; the message names the file, which is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, side_name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL)
    side = Path(side_name)
    try:
        with os.fdopen(handle, "wb", buffering=0) as file:
            if not write_directly(file.fileno(), data):
                _write_parts(file.fileno(), data)
            os.fsync(file.fileno())
        side.chmod(0o644)
        side.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        side.unlink(missing_ok=True)
        raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error
    except BaseException:
        side.unlink(missing_ok=True)
        raise


def _write_parts(handle: int, parts: Iterable[bytes | memoryview]) -> None:
    """Write parts one after another by few calls: one each, or joining them first, costs more than flushing."""
    waiting = [memoryview(part) for part in parts if len(part)]
    while waiting:
        written = os.writev(handle, waiting[:MOST_PARTS])
        while waiting and written >= waiting[0].nbytes:
            written -= waiting.pop(0).nbytes
        if written:
            waiting[0] = waiting[0][written:]


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; NaN is refused, since it is not JSON."""
    write_atomically(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    """Return JSON as it is written here, always the same bytes for the same content."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _flush_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
"""Scheme -> optional extra of this package that brings the library for it."""


def connect(url: str) -> "tuple[AbstractFileSystem, str]":
    """Return the file system of fsspec behind a URL and the path within it; nothing is asked of it yet.

    Raises
    ------
    ConfigError
        No library for this kind of URL is known or installed; what to install is named.
    """
    scheme = url.partition("://")[0]
    try:
        system = _file_system(scheme)
    except ImportError as error:
        extra = EXTRAS.get(scheme)
        remedy = f"run: pip install 'stpa[{extra}]'" if extra else str(error)
        raise ConfigError(f"{url}: expected the library for {scheme}://, found none; {remedy}") from error
    except ValueError as error:
        raise ConfigError(f"{url}: expected a folder, or a URL of a kind that fsspec knows, such as s3://") from error
    return system, str(system._strip_protocol(url))


@lru_cache
def _file_system(scheme: str) -> "AbstractFileSystem":
    """Return a file system that remembers no listing, since others write too, and gives up within a minute."""
    import fsspec

    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if EXTRAS.get(scheme) == "s3" and "config_kwargs" not in fsspec.config.conf.get(scheme, {}):
        options["config_kwargs"] = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 2}}
    return fsspec.filesystem(scheme, **options)
