"""Who uses an artifact now: a lock that the kernel drops with the process that holds it, however that ends.

A run holds a shared lock on the artifact it writes and on those it reads; what removes files takes the lock alone, or
leaves the artifact as it is. The lock is a file beside the artifact (``.locks/<stage>-<key>``), so that it outlives the
folder, and its date says when the artifact was last used. An object store has no locks: nobody is seen there, and what
removes files goes by their age instead.

1. Open the lock file, making it where there is none.
2. Lock it: shared and waiting (a run), or alone and not waiting (whoever removes).
3. Look whether the path still names the file that was locked; if it was removed meanwhile, begin again.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pipeline.artifacts.place import LocalPlace, Place

LOCKS = ".locks"


def lock_file(artifact: Place | Path) -> Path | None:
    """Return the lock file of an artifact; None where there are no locks."""
    if isinstance(artifact, LocalPlace):
        artifact = artifact.path
    return artifact.parent / LOCKS / artifact.name if isinstance(artifact, Path) else None


@contextmanager
def in_use(artifacts: Iterable[Place | Path]) -> Iterator[None]:
    """Keep others from removing these artifacts, made or not, and remember that they were used now."""
    with ExitStack() as stack:
        for file in map(lock_file, artifacts):
            if file is None:
                continue
            handle = _lock(file, fcntl.LOCK_SH)
            stack.callback(os.close, handle)
            with suppress(OSError):  # of another user: the lock counts, its date does not
                os.utime(handle)
        yield


@contextmanager
def alone(artifact: Place | Path) -> Iterator[bool]:
    """Say whether nobody is seen to use the artifact, and keep it so for the time of the block."""
    file = lock_file(artifact)
    if file is None:
        yield True
        return
    try:
        handle = _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(handle)


def used_now(artifact: Place | Path) -> bool:
    """Return whether a run is seen to have its hands on the artifact; writes nothing, not even the lock file."""
    file = lock_file(artifact)
    try:
        handle = None if file is None else os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return False
    if handle is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def last_used(artifact: Place | Path) -> float | None:
    """Return when a run last used the artifact, in seconds since 1970; None where that was not recorded."""
    file = lock_file(artifact)
    try:
        return None if file is None else file.stat().st_mtime
    except OSError:
        return None


def _lock(path: Path, how: int) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, how)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), path.stat()):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
