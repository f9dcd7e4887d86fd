"""Writing a file so that it is whole or absent."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

PARTIAL = ".partial-"
"""What files and folders are called until they are whole."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a side name, flush to disk, then rename: a reader sees the old file, the new one, or none.

    It is on disk when this returns, so that what is written next cannot overtake it.

    Raises
    ------
    OSError
        It cannot be written; the message names the file, which is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, side_name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL)
    side = Path(side_name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
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
