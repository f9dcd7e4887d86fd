"""How large masks are: what ``stpa masks`` tells, to compare with the masks of published pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.artifacts.workspace import Workspace
from pipeline.contract import Report, VideoRecord
from pipeline.execution.inputs import StoredInputs


@dataclass(frozen=True)
class MaskSizes:
    """Of all chosen videos together; shares are of the frame's area, over the frames that have a mask."""

    objects: int
    frames: int
    masked: int
    """Frames that have a mask."""
    median: float
    low: float
    """5 % of the masks are smaller."""
    high: float
    """5 % of them are larger."""

    def __str__(self) -> str:
        if not self.masked:
            return f"no object in any of {self.frames} frames"
        return (
            f"{self.objects} objects in {self.masked} of {self.frames} frames; they cover {100 * self.median:.2f} % of the "
            f"frame (median; 5 to 95 %: {100 * self.low:.2f} to {100 * self.high:.2f} %)"
        )


def measure_masks(workspace: Workspace, records: Sequence[VideoRecord], report: Report) -> MaskSizes:
    """Read the masks of videos, a shard at a time, and return how large they are.

    Raises
    ------
    MissingShardError
        Those of a video are not complete.
    """
    inputs, step = StoredInputs(workspace), workspace.config.run.shard_frames
    total, done, objects = sum(record.num_frames for record in records), 0, 0
    shares = [np.empty(0)]
    for record in records:
        object_T = inputs.read("masks", "object", record)
        objects += len(np.unique(object_T[object_T >= 0]))
        for start in range(0, record.num_frames, step):
            stop = min(start + step, record.num_frames)
            mask_THW = inputs.read("masks", "mask", record, start, stop)
            shares.append(mask_THW[object_T[start:stop] >= 0].mean(axis=(1, 2), dtype=np.float64))
            done += stop - start
            report("sizes of masks", done, total)
    share_N = np.concatenate(shares)
    low, median, high = np.percentile(share_N, (5, 50, 95)) if len(share_N) else (0.0, 0.0, 0.0)
    return MaskSizes(objects, total, len(share_N), float(median), float(low), float(high))
