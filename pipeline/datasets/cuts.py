"""Which frames of a recording count: a part of it, at the rate of the recording or at a lower one.

Time is what the container says it is: frame ``i`` of a recording of ``r`` frames per second was taken at ``i / r`` seconds.
Of thinned-out video, frame ``k`` is the recorded frame ``floor(k * r / fps)``, counted from the start of the part.
"""

import json
import math
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Cut, DataError, Moment

RATE_TOLERANCE = 0.05
"""29.97 frames per second will do where 30 are asked for; what differs by less is taken as it is."""
ROUNDING = 1e-6
"""Of a frame: 0.28 s x 25 must be frame 7, whatever floating point says."""


def to_frame(moment: Moment, rate: float, where: str) -> int:
    """Return the first recorded frame that was not taken before a moment.

    Raises
    ------
    DataError
        It is in seconds and the files do not say their rate (``rate`` 0).
    """
    if moment.unit == "frames":
        return int(moment.value)
    if rate <= 0:
        raise DataError(f"{where}: expected a frame rate, to which {moment.value:g} s refer, found none in it; give frames")
    return math.ceil(moment.value * rate - ROUNDING)


def step_of(cut: Cut, rate: float, where: str) -> float:
    """Return how many recorded frames there are per frame that counts, 1 or more.

    Raises
    ------
    DataError
        The recording has a lower rate than was asked for, or does not say its rate.
    """
    if cut.fps is None:
        return 1.0
    if rate <= 0:
        raise DataError(
            f"{where}: expected a frame rate, to thin it out to dataset.fps = {cut.fps:g}, found none in it; "
            "convert it to a video file, or leave dataset.fps out"
        )
    step = rate / cut.fps
    if step < 1 - RATE_TOLERANCE:
        raise DataError(
            f"{where}: expected at least {cut.fps:g} frames per second (dataset.fps), found {rate:g}: frames cannot be made "
            "up; lower dataset.fps to the slowest camera's rate"
        )
    return step if step > 1 + RATE_TOLERANCE else 1.0


def first_and_last(cut: Cut, rate: float, where: str) -> tuple[int, int | None]:
    """Return the first recorded frame of the part, and the first one behind it (None: there is no limit)."""
    return to_frame(cut.start, rate, where), None if cut.stop is None else to_frame(cut.stop, rate, where)


def frame_at(cut: Cut, rate: float, index: int, where: str) -> int | None:
    """Return which recorded frame is frame ``index`` of the part; None behind the part's end."""
    start, stop = first_and_last(cut, rate, where)
    frame = start + math.floor(index * step_of(cut, rate, where) + ROUNDING)
    return frame if stop is None or frame < stop else None


def count_kept(cut: Cut, rate: float, recorded: int, where: str) -> int:
    """Return how many of the ``recorded`` frames of a recording count."""
    start, stop = first_and_last(cut, rate, where)
    span = (recorded if stop is None else min(stop, recorded)) - start
    if span <= 0:
        return 0
    step = step_of(cut, rate, where)
    guess = math.ceil(span / step) + 1  # and fewer, by how floor(k * step) falls
    return int(np.count_nonzero(_offsets(guess, step) < span))


def kept_frames(cut: Cut | None, rate: float, count: int, where: str) -> NDArray[np.int64]:
    """Return which recorded frames the ``count`` frames of a video are, (count,)."""
    if cut is None:
        return np.arange(count, dtype=np.int64)
    start, _ = first_and_last(cut, rate, where)
    return np.asarray(start + _offsets(count, step_of(cut, rate, where)), np.int64)


def _offsets(count: int, step: float) -> NDArray[np.int64]:
    return np.asarray(np.floor(np.arange(count) * step + ROUNDING), np.int64)


def digest_cut(cut: Cut, digest: str) -> str:
    """Return the digest of a part, given that of the whole file: other parts and rates are other content."""
    if not cut.selects:
        return digest
    return blake2b(f"{digest} {describe(cut)}".encode(), digest_size=16).hexdigest()


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
