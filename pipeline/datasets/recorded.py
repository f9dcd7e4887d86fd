"""From labels of a recording to those of the frames of it that count."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError, Video
from pipeline.datasets.clocks import Clock, clock_of
from pipeline.datasets.containers import check_whole
from pipeline.datasets.cuts import UNTIMED, count_kept, kept_frames, step_of, to_frame
from pipeline.datasets.listing import where
from pipeline.datasets.time_tables import Stretch
from pipeline.datasets.track_files import Rows, check_frames
from pipeline.datasets.truth import Bools, check_length, mark_intervals

SLACK_SECONDS = 1.0
"""By which a stretch in seconds may end behind a recording: players round its length up."""


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
        try:
            check_whole(self.video.files[0])
        except DataError:
            return True
        return False

    def pick(self, values: Bools, path: Path) -> Bools:
        """Return those of the values, one per recorded frame along the first axis, that belong to frames which count."""
        if self._cut_off and len(values) > self._recorded_T[-1]:
            return values[self._recorded_T]
        cut = self.video.cut
        if cut is None or not self.selected:
            check_length(len(values), self.num_frames, self.recording, path)
            return values
        check_length(count_kept(cut, self._clock, len(values), str(path)), self.num_frames, self.video.id, path)
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

    def mark(self, stretches: Sequence[Stretch], path: Path) -> Bools:
        """Return (num_frames,) bool, True inside the stretches of the recording."""
        found = [self._interval(stretch) for stretch in stretches]
        if not self.selected and not self._cut_off:
            return mark_intervals(found, self.num_frames, self.recording, path)
        self._check_end(found, path)
        frame_T = np.zeros(self.num_frames, np.bool_)
        for start, stop in found:
            frame_T |= (self._recorded_T >= start) & (self._recorded_T < stop)
        return frame_T

    def _interval(self, stretch: Stretch) -> tuple[int, int]:
        start, end = stretch
        assert end is not None  # tables of labels have no open ends
        if start.unit == "frames":
            return int(start.value), int(end.value)
        if not self.video.timed:
            raise DataError(f"{where(self.video)}: {UNTIMED}, or give labels in frames")
        first, stop = (to_frame(moment, self._clock, where(self.video)) for moment in (start, end))
        if not self.selected and self.num_frames < stop <= self.num_frames + SLACK_SECONDS * self._clock.rate:
            stop = self.num_frames
        return first, max(stop, first + 1)

    def _check_end(self, found: Sequence[tuple[int, int]], path: Path) -> None:
        """Refuse what begins behind the recording, as far as its end is known: that of its last part is."""
        cut = self.video.cut
        if cut is None or cut.stop is not None or not found or self._cut_off:
            return
        end = int(self._recorded_T[-1]) + step_of(cut, self._clock, where(self.video))
        if (last := max(start for start, _ in found)) >= end:
            raise DataError(
                f"{path}: expected anomalous stretches within recording {self.recording}, which ends about frame {end:.0f}, "
                f"found one from frame {last} on; labels and recordings must belong together"
            )


