"""Writing large files past the page cache of the system (O_DIRECT), where the file system can do that.

What is flushed to disk anyway gains nothing from a copy in the page cache but that it can be read again from there, and a
new page costs more than what it takes to fill it, on virtual machines most of all (docs/results.md, "Decoding"). And the
cache keeps what it held, the videos that are being decoded for one.
"""

import errno
import fcntl
import mmap
import os
import threading
from collections.abc import Iterator, Sequence

import numpy as np

DIRECT = getattr(os, "O_DIRECT", 0)
"""0 where the system knows no such thing."""
SMALLEST = 2**20
"""Bytes from which on it is worth while."""
BLOCK = 2**22  # written at once
ALIGNED = 4096  # bytes; what every disk in use takes, in memory and in the file
REFUSED = (errno.EINVAL, errno.EOPNOTSUPP)
"""Not on this file system, or not with this alignment."""
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
"""Memory that a process which is forked off does not share."""
_OWN = threading.local()


def write_directly(handle: int, parts: Sequence[bytes | memoryview]) -> bool:
    """Write parts one after another into an empty file; False = nothing was written, it has to be done the usual way.

    Raises
    ------
    OSError
        The disk is full or failed.
    """
    total = sum(memoryview(part).nbytes for part in parts)
    if not DIRECT or total < SMALLEST:
        return False
    flags = fcntl.fcntl(handle, fcntl.F_GETFL)
    try:
        fcntl.fcntl(handle, fcntl.F_SETFL, flags | DIRECT)
        for block in _blocks(parts):
            _write(handle, block)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        os.lseek(handle, 0, os.SEEK_SET)
        os.ftruncate(handle, 0)
        return False
    finally:
        fcntl.fcntl(handle, fcntl.F_SETFL, flags)
    os.ftruncate(handle, total)
    return True


def _blocks(parts: Sequence[bytes | memoryview]) -> Iterator[memoryview]:
    """Yield the parts in blocks of aligned memory, the last one padded; each is valid until the next is asked for.

    What is large, aligned and at a place of the file that is, is written from where it lies; the rest is copied.
    """
    memory, filled = _memory(), 0
    for rest in (memoryview(part).cast("B") for part in parts if memoryview(part).nbytes):
        if not filled and len(rest) >= SMALLEST and np.frombuffer(rest, np.uint8).ctypes.data % ALIGNED == 0:
            aligned = len(rest) - len(rest) % ALIGNED
            yield rest[:aligned]
            rest = rest[aligned:]
        while len(rest):
            taken = min(len(rest), BLOCK - filled)
            memory[filled : filled + taken] = rest[:taken]
            filled, rest = filled + taken, rest[taken:]
            if filled == BLOCK:
                yield memory
                filled = 0
    if filled:
        yield memory[: -(-filled // ALIGNED) * ALIGNED]


def _memory() -> memoryview:
    """Return a thread's own block, aligned to a page, which is kept: to get a new one costs as much as to fill it."""
    if not hasattr(_OWN, "memory"):
        _OWN.memory = memoryview(mmap.mmap(-1, BLOCK, flags=PRIVATE))
    found: memoryview = _OWN.memory
    return found


def _write(handle: int, block: memoryview) -> None:
    while len(block):
        written = os.write(handle, block)
        if written < len(block) and written % ALIGNED:  # a disk that is nearly full; what follows would not be aligned
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        block = block[written:]
