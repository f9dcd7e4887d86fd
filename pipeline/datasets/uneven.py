"""What there is to say of a recording whose frames do not come at the rate that its container claims."""

from collections.abc import Iterator

import numpy as np

from pipeline.contract import Video
from pipeline.datasets.clocks import Clock, Times, clock_from, is_even, longest_step
from pipeline.datasets.cuts import kept_frames
from pipeline.datasets.listing import where

MOST_GAPS = 3  # named of one recording
REPEATED = 0.05  # share of frames from which it is worth saying


def remarks_on_times(video: Video, time_T: Times, rate: float) -> Iterator[str]:
    """Yield what is uneven in the times of a recording's first frames, in seconds; ``rate`` is what the container claims."""
    clock = clock_from(time_T, rate)
    if clock.time_T is None:
        return
    step_T = np.diff(clock.time_T)
    claimed = f"{rate:g} frames per second" if rate else "no frame rate"
    if is_even(clock.time_T, clock.rate):
        yield (
            f"{where(video)}: expected the frames to come as claimed, {claimed}, found {clock.rate:.4g} a second; the times "
            "of the frames count, so nothing is to be done"
        )
        return
    shortest, longest = np.percentile(step_T, (5, 95)) * 1000
    possible = np.floor(clock.rate) or clock.rate
    advice = (
        f"they are brought to dataset.fps = {video.cut.fps:g} by their times"
        if video.cut is not None and video.cut.fps is not None
        else f"motion between them does not compare: dataset.fps = {possible:.3g} would space them evenly"
    )
    yield (
        f"{where(video)}: variable frame rate: expected {claimed} as claimed, found {clock.rate:.3g} on average, "
        f"{shortest:.0f} to {longest:.0f} ms apart; seconds in tables go by the time of each frame; {advice}"
    )
    yield from _gaps(video, clock.time_T)


def _gaps(video: Video, time_T: Times) -> Iterator[str]:
    step_T = np.diff(time_T)
    (gap_G,) = np.nonzero(step_T > longest_step(step_T))
    name = video.id if video.cut is None else video.cut.recording
    for gap in gap_G[:MOST_GAPS]:
        start, end = time_T[gap], time_T[gap + 1]
        yield (
            f"{where(video)}: expected frames all the time, found none between {start:.3f} and {end:.3f} s; a clip reaches "
            f"over it, unless left_out.csv has the line {video.split}/{name},{start + 0.001:.3f}s,{end - 0.001:.3f}s"
        )
    if len(gap_G) > MOST_GAPS:
        yield f"{where(video)}: and {len(gap_G) - MOST_GAPS} more gaps of over {longest_step(step_T):.2g} s without frames"


def remarks_on_repeats(video: Video, clock: Clock, num_frames: int) -> Iterator[str]:
    """Yield whether the ``num_frames`` frames of a part stand still at times to reach ``dataset.fps``."""
    if clock.time_T is None or video.cut is None or video.cut.fps is None or num_frames < 2:
        return
    repeated = float(np.mean(np.diff(kept_frames(video.cut, clock, num_frames, where(video))) == 0))
    if repeated > REPEATED:
        slow = 1 / float(np.percentile(np.diff(clock.time_T), 95))
        yield (
            f"{where(video)}: expected a new frame {video.cut.fps:g} times a second (dataset.fps), found {repeated:.0%} "
            f"that repeat the one before, as it was recorded more slowly there; dataset.fps = {slow:.3g} avoids most of it"
        )
