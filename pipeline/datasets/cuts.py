"""Which frames of a recording count: a part of it, at the rate of the recording or at a lower one.

Time is that of a recording's clock (clocks.py), from its first frame. Where frames come evenly, ``r`` a second, frame ``k``
of thinned-out video is the recorded frame ``floor(k * r / fps)``, counted from the start of the part. Where they do not, it
is the frame that a player would show ``k / fps`` seconds after the start of the part.
"""

import json
import math
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Cut, DataError, Moment
from pipeline.datasets.clocks import ROUNDING, Clock

RATE_TOLERANCE = 0.05
"""29.97 frames per second will do where 30 are asked for; what differs by less is taken as it is."""


UNTIMED = (
    "expected frames at the times of their packets, found others, and no constant rate either; seconds and dataset.fps need "
    "times: convert it, for example ffmpeg -i FILE -fps_mode cfr NEW.mp4"
)


def to_frame(moment: Moment, clock: Clock, where: str) -> int:
    """Return the first recorded frame that was not taken before a moment.

    Raises
    ------
    DataError
        It is in seconds and the files do not say their rate (``clock.rate`` 0).
    """
    if moment.unit == "frames":
        return int(moment.value)
    if clock.rate <= 0:
        raise DataError(f"{where}: expected a frame rate, to which {moment.value:g} s refer, found none in it; give frames")
    return clock.frame_from(moment.value)


def step_of(cut: Cut, clock: Clock, where: str) -> float:
    """Return how many recorded frames there are per frame that counts, 1 or more; on average, where they come unevenly.

    Raises
    ------
    DataError
        The recording has a lower rate than was asked for, or does not say its rate.
    """
    if cut.fps is None:
        return 1.0
    if clock.rate <= 0:
        raise DataError(
            f"{where}: expected a frame rate, to thin it out to dataset.fps = {cut.fps:g}, found none in it; "
            "convert it to a video file, or leave dataset.fps out"
        )
    step = clock.rate / cut.fps
    if step < 1 - RATE_TOLERANCE:
        raise DataError(
            f"{where}: expected at least {cut.fps:g} frames per second (dataset.fps), found {clock.rate:.4g}: frames cannot "
            "be made up; lower dataset.fps to the slowest camera's rate"
        )
    if clock.time_T is not None:
        return max(step, 1.0)
    return step if step > 1 + RATE_TOLERANCE else 1.0


def rate_of(cut: Cut, clock: Clock, where: str) -> float:
    """Return the frames per second of what counts; raises DataError as :func:`step_of` does."""
    step = step_of(cut, clock, where)
    return cut.fps if cut.fps is not None and clock.time_T is not None else clock.rate / step


def first_and_last(cut: Cut, clock: Clock, where: str) -> tuple[int, int | None]:
    """Return the first recorded frame of the part, and the first one behind it (None: there is no limit)."""
    return to_frame(cut.start, clock, where), None if cut.stop is None else to_frame(cut.stop, clock, where)


def frame_at(cut: Cut, clock: Clock, index: int, where: str) -> int | None:
    """Return which recorded frame is frame ``index`` of the part; None behind the part's end."""
    start, stop = first_and_last(cut, clock, where)
    if cut.fps is not None and clock.time_T is not None and index >= count_kept(cut, clock, len(clock.time_T), where):
        return None
    frame = int(_kept(cut, clock, start, np.array([index]), where)[0])
    return frame if stop is None or frame < stop else None


def count_kept(cut: Cut, clock: Clock, recorded: int, where: str) -> int:
    """Return how many of the ``recorded`` frames of a recording count."""
    start, stop = first_and_last(cut, clock, where)
    behind = recorded if stop is None else min(stop, recorded)
    if behind <= start:
        return 0
    if cut.fps is not None and clock.time_T is not None:
        step_of(cut, clock, where)  # it may be too slow
        end = min(clock.time_of(behind), clock.time_of(behind - 1) + 1 / clock.rate)  # a gap belongs to no part
        return max(1, math.ceil((end - clock.time_of(start)) * cut.fps - ROUNDING))
    step = step_of(cut, clock, where)
    guess = math.ceil((behind - start) / step) + 1  # and fewer, by how floor(k * step) falls
    return int(np.count_nonzero(_offsets(np.arange(guess), step) < behind - start))


def kept_frames(cut: Cut | None, clock: Clock, count: int, where: str) -> NDArray[np.int64]:
    """Return which recorded frames the ``count`` frames of a video are, (count,)."""
    index_N = np.arange(count, dtype=np.int64)
    if cut is None:
        return index_N
    start, _ = first_and_last(cut, clock, where)
    return _kept(cut, clock, start, index_N, where)


def _kept(cut: Cut, clock: Clock, start: int, index_N: NDArray[np.int64], where: str) -> NDArray[np.int64]:
    """Return which recorded frames these frames of a part are, (N,), whose first frame is ``start``."""
    step = step_of(cut, clock, where)
    if cut.fps is None or clock.time_T is None:
        return start + _offsets(index_N, step)
    return clock.shown_at(clock.time_of(start) + index_N / cut.fps)


def _offsets(index_N: NDArray[np.int64], step: float) -> NDArray[np.int64]:
    return np.asarray(np.floor(index_N * step + ROUNDING), np.int64)


def goes_by_time(cut: Cut) -> bool:
    """Say whether which frames count depends on when they were taken."""
    seconds = cut.start.unit == "seconds" or (cut.stop is not None and cut.stop.unit == "seconds")
    return seconds or cut.fps is not None


def digest_cut(cut: Cut, clock: Clock, digest: str) -> str:
    """Return the digest of a part, given that of the whole file: other parts and rates are other content."""
    if not cut.selects:
        return digest
    by_times = " by times" if clock.time_T is not None and goes_by_time(cut) else ""  # once, all counted as even
    return blake2b(f"{digest} {describe(cut)}{by_times}".encode(), digest_size=16).hexdigest()


def describe(cut: Cut) -> str:
    """Return what is selected as text, the same for the same selection."""
    stop = None if cut.stop is None else [cut.stop.value, cut.stop.unit]
    return json.dumps([[cut.start.value, cut.start.unit], stop, cut.fps])


def parts_without(left_out: Sequence[tuple[Moment, Moment | None]]) -> list[tuple[Moment, Moment | None]]:
    """Return what remains of a recording between stretches that are left out; these may overlap, in any order.

    All moments are of one unit; an end of None is that of the recording.
    """
    parts: list[tuple[Moment, Moment | None]] = []
    begin = Moment(value=0, unit=left_out[0][0].unit)
    for start, end in sorted(left_out, key=lambda pair: pair[0].value):
        if start.value > begin.value:
            parts.append((begin, start))
        if end is None:
            return parts
        begin = max(begin, end, key=lambda moment: moment.value)
    parts.append((begin, None))
    return parts
