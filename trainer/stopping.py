"""Being told to stop: the step in work is finished and kept, then the run ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether this process was told to stop. A second signal ends it at once, as if nobody listened."""

    def __init__(self) -> None:
        self._told = threading.Event()

    def __bool__(self) -> bool:
        return self._told.is_set()

    def now(self) -> None:
        """Tell everybody in this process to stop after the step in work."""
        self._told.set()


@contextmanager
def listening() -> Iterator[Stop]:
    """Listen to SIGINT and SIGTERM for the time of the block; outside of the main thread nothing is listened to."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def tell(number: int, frame: FrameType | None) -> None:
        stop.now()
        for one, handler in before.items():
            signal.signal(one, handler)

    for number in SIGNALS:
        signal.signal(number, tell)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
