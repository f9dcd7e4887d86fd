"""From labels of a recording to those of the frames of it that count."""

from collections.abc import Sequence
from functools import cached_property
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError, Video
from pipeline.datasets.captures import open_capture
from pipeline.datasets.clocks import ROUNDING, Clock, clock_of
from pipeline.datasets.containers import check_whole, counted_frames, lacks_frames
from pipeline.datasets.cuts import UNTIMED, count_kept, kept_frames, step_of, to_frame
from pipeline.datasets.listing import where
from pipeline.datasets.time_tables import Stretch
from pipeline.datasets.track_files import Rows, check_frames
from pipeline.datasets.truth import Bools, check_length

SLACK_SECONDS = 1.0
"""By which a stretch in seconds may end behind a recording: players round its length up."""
REMEDY = "give one per recorded frame, or restore what the recording lacks"


def recording_of(video: Video) -> str:
    """Return the id of the recording of which a video is a part, or the whole."""
    return video.id if video.cut is None else video.cut.recording


class RecordedFrames:
    """The frames of a video, as numbers of the recorded frames that they are."""

    def __init__(self, video: Video, num_frames: int) -> None:
        self.video = video
        self.recording = recording_of(video)
        self.num_frames = num_frames
        self.selected = video.cut is not None and video.cut.selects

    @cached_property
    def _clock(self) -> Clock:
        return clock_of(self.video)

    @cached_property
    def _recorded_T(self) -> NDArray[np.int64]:
        return kept_frames(self.video.cut if self.selected else None, self._clock, self.num_frames, where(self.video))

    @cached_property
    def _cut_off(self) -> bool:
        """Whether the end of the recording is missing: its labels may reach further than it does."""
        if self.video.is_folder or self.video.cut is None or not self.video.cut.damaged:
            return False
        path = self.video.files[0]
        try:
            check_whole(path)
        except DataError:
            return True
        capture = open_capture(path)
        counted = counted_frames(path, capture)
        capture.release()
        return self.video.cut.stop is None and lacks_frames(counted, self._behind)

    @cached_property
    def _behind(self) -> int:
        """The first recorded frame behind this part; of thinned out ones, at most a step too high."""
        cut = self.video.cut
        if cut is None or not self.selected:
            return self.num_frames
        last, time_T = int(self._recorded_T[-1]), self._clock.time_T
        if time_T is not None:
            return max(last + 1, len(time_T))
        return last + ceil(step_of(cut, self._clock, where(self.video)) - ROUNDING)

    @cached_property
    def _end(self) -> int | None:
        """The first frame behind the recording, as :attr:`_behind`; None if it was cut off, or goes on behind this part."""
        cut = self.video.cut
        return None if self._cut_off or (cut is not None and cut.stop is not None) else self._behind

    def pick(self, values: Bools, path: Path) -> Bools:
        """Return those of the values, one per recorded frame along the first axis, that belong to frames which count."""
        if self._cut_off and len(values) > self._recorded_T[-1]:
            return values[self._recorded_T]
        cut = self.video.cut
        if cut is None or not self.selected:
            check_length(len(values), self.num_frames, self.recording, path, remedy=REMEDY)
            return values
        kept = count_kept(cut, self._clock, len(values), str(path))
        check_length(kept, self.num_frames, self.video.id, path, remedy=REMEDY)
        return values[self._recorded_T]

    def pick_rows(self, row_R6: Rows, path: Path) -> Rows:
        """Return the true regions in frames that count, under the numbers that these have here."""
        if not self.selected and not self._cut_off:
            check_frames(row_R6, self.num_frames, self.recording, path)
            return row_R6
        place_R = np.searchsorted(self._recorded_T, row_R6[:, 1])
        kept_R = place_R < self.num_frames
        kept_R[kept_R] = self._recorded_T[place_R[kept_R]] == row_R6[kept_R, 1]
        picked_R6 = row_R6[kept_R].copy()
        picked_R6[:, 1] = place_R[kept_R]
        return picked_R6

    def mark(self, stretches: Sequence[Stretch]) -> Bools:
        """Return (num_frames,) bool, True inside the stretches of the recording; none may reach behind its end."""
        frame_T = np.zeros(self.num_frames, np.bool_)
        for stretch in stretches:
            start, stop = self._interval(stretch)
            if self._end is not None and stop > self._end:
                raise self._behind_end(stretch, start, stop, self._end)
            frame_T |= (self._recorded_T >= start) & (self._recorded_T < stop)
        return frame_T

    def _behind_end(self, stretch: Stretch, start: int, stop: int, end: int) -> DataError:
        thinned = self.video.cut is not None and self.video.cut.fps is not None
        return DataError(
            f"{stretch.where}: expected a stretch within the {'about ' if thinned else ''}{end} frames of recording "
            f"{self.recording}, found frames {start} to {stop - 1} (counted from 0); correct it, or restore what the "
            "recording lacks"
        )

    def _interval(self, stretch: Stretch) -> tuple[int, int]:
        assert stretch.end is not None  # tables of labels have no open ends
        if stretch.start.unit == "frames":
            return int(stretch.start.value), int(stretch.end.value)
        if not self.video.timed:
            raise DataError(f"{where(self.video)}: {UNTIMED}, or give labels in frames")
        start, stop = (to_frame(moment, self._clock, where(self.video)) for moment in (stretch.start, stretch.end))
        if self._end is not None and self._end < stop <= self._end + SLACK_SECONDS * self._clock.rate:
            stop = self._end
        return start, max(stop, start + 1)
