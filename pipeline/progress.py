"""Progress on stderr: a bar where someone watches, else a line now and then for a log."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

LINE_SECONDS = 10.0


class Progress:
    """The :data:`pipeline.contract.Report` of the command line; a context manager, so that bars are taken down."""

    def __init__(self) -> None:
        self._began: dict[str, tuple[float, float]] = {}  # when, and how much was done by then
        self._done: dict[str, float] = {}
        self._last = time.monotonic()
        self._tasks: dict[str, TaskID] = {}
        self._bars = _bars() if sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, what: str, done: float, total: float) -> None:
        """Show that ``done`` of ``total`` pieces of ``what`` are there, and what it says behind a tab."""
        what, _, note = what.partition("\t")
        if done < self._done.get(what, done):
            self._begin_again(what)
        self._done[what] = done
        if self._bars is not None:
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what, total=total)
            self._bars.update(self._tasks[what], completed=done, total=total, description=f"{what}  {note}".rstrip())
            return
        now = time.monotonic()
        began, done_before = self._began.setdefault(what, (now, done if done < total else 0))
        if done < total and now - self._last < LINE_SECONDS:
            return
        if done >= total and now - began < LINE_SECONDS:
            return  # too short to be worth a line
        self._last = now
        left = _time_left(now - began, done - done_before, total - done)
        print(f"  {what}: {done:.0f} of {total:.0f}{left}{f' ({note})' if note else ''}", file=sys.stderr, flush=True)

    def _begin_again(self, what: str) -> None:
        """Start the clock of work of the same name that follows on what was done, as one training does on another."""
        self._began.pop(what, None)
        if self._bars is not None and what in self._tasks:
            self._bars.reset(self._tasks[what])


def _time_left(seconds: float, done: float, left: float) -> str:
    """Say how fast it goes and how long it took, or will take; ``done`` is what was done in these seconds."""
    if left <= 0:
        return f" in {duration(seconds)}"
    return f", {_rate(done / seconds)}, about {duration(seconds / done * left)} left" if done > 0 and seconds > 0 else ""


def _rate(per_second: float) -> str:
    """Return a rate in a unit that needs no small fractions."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_second * seconds >= 1:
            return f"{per_second * seconds:.3g}/{unit}"
    return f"{per_second * 3600:.3g}/h"


def duration(seconds: float) -> str:
    """Return a length of time in the unit in which people would say it."""
    for unit, size, most in (("s", 1.0, 120.0), ("min", 60.0, 7200.0), ("h", 3600.0, 172_800.0)):
        if seconds < most:
            return f"{seconds / size:.{0 if seconds / size >= 10 or unit == 's' else 1}f} {unit}"
    return f"{seconds / 86_400:.1f} days"


class _RateColumn(ProgressColumn):
    """How fast it goes."""

    def render(self, task: Task) -> Text:
        """Return the rate, once it is known."""
        return Text(_rate(task.speed) if task.speed else "")


def _bars() -> Bars:
    times = (_RateColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *times)
    return Bars(*columns, console=Console(stderr=True), transient=True)
