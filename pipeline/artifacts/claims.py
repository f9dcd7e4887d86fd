"""Who makes a shard now: a lock of one byte, which the kernel drops with the process that holds it, however that ends.

All shards of a dataset share one file, ``.locks/shards`` beside its artifacts. Which byte stands for a shard is a hash of
names; the file stays empty. Where a file system knows no locks, or on an object store, nobody is seen: the work may then be
done twice, and the result is the same.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.artifacts.keys import digest_text
from pipeline.artifacts.store import Artifact
from pipeline.artifacts.use import lock_file

_handles: dict[Path, int] = {}
"""Of lock files, kept open: closing one would drop all locks that this process has on it."""


@contextmanager
def claimed(artifact: Artifact, receipt: str) -> Iterator[bool]:
    """Claim the shard of a receipt for the time of the block; False: another process has it in work."""
    byte = int(digest_text(f"{artifact.place.name}/{receipt}"), 16) >> 2  # an offset in a file has 63 bits
    handle = _handle(artifact)
    try:
        if handle is not None:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except (BlockingIOError, PermissionError):  # POSIX leaves it open which of the two
        yield False
        return
    except OSError:  # no locks here
        handle = None
    try:
        yield True
    finally:
        if handle is not None:
            fcntl.lockf(handle, fcntl.LOCK_UN, 1, byte)


def _handle(artifact: Artifact) -> int | None:
    beside = lock_file(artifact.place)
    if beside is None:
        return None
    path = beside.with_name("shards").absolute()
    if path not in _handles:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _handles[path] = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:  # of another user, or nothing may be written: what is to be made will say so
            return None
    return _handles[path]
