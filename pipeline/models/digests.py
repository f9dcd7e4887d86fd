"""What identifies the content of large files, such as weights, without reading gigabytes at every command.

The digest of a file is kept on this machine, below ``stpa`` in ``XDG_CACHE_HOME`` (``~/.cache``, or ``STPA_SCRATCH``), under
its path, with all that changes when it is written to: size, number on its disk, date of its content, and the date that no
program can set. What does not agree, or is damaged, is read again. Deleting the folder costs time and nothing else.
"""

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from pipeline.files import write_json

LEAST_BYTES = 8_000_000
"""Smaller files are read sooner than it takes to speak of it."""
SETTLED = 2.0
"""Seconds that a file must not have changed for: dates of some disks are no finer than that."""
_known: dict[Path, tuple[list[int], str]] = {}  # of this process


def file_digest(path: Path) -> str:
    """Return the sha256 (hex) of a file's content.

    Raises
    ------
    OSError
        It cannot be read.
    """
    path = path.resolve()
    signature = _signature(path)
    known = _known.get(path) or _recall(path)
    if known is None or known[0] != signature:
        began = time.time()
        with path.open("rb") as stream:
            known = signature, hashlib.file_digest(stream, "sha256").hexdigest()
        if _signature(path) != signature:
            return known[1]  # written to meanwhile: nothing is concluded from it later
        _keep(path, *known, began)
    _known[path] = known
    return known[1]


def _signature(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


def _note(path: Path) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(os.fsencode(path)).hexdigest()
    return Path(os.environ.get("STPA_SCRATCH") or home / "stpa") / "digests" / f"{name}.json"


def _recall(path: Path) -> tuple[list[int], str] | None:
    try:
        note = json.loads(_note(path).read_text(encoding="utf-8"))
        signature, digest = note["signature"], note["sha256"]
    except (OSError, ValueError, LookupError, TypeError, RuntimeError):  # the last: no home
        return None
    sound = isinstance(signature, list) and isinstance(digest, str) and len(digest) == 64
    return (signature, digest) if sound else None


def _keep(path: Path, signature: list[int], digest: str, began: float) -> None:
    size, _, *dates = signature
    if size < LEAST_BYTES or began - max(dates) / 1e9 < SETTLED:
        return
    # A home that is full, or cannot be written to: the file is read again the next time.
    with suppress(OSError, ValueError, RuntimeError):
        write_json(_note(path), {"file": os.fsdecode(path), "signature": signature, "sha256": digest})
