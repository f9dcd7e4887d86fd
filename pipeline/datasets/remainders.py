"""What left_out.csv leaves of a recording, if it is less than a clip.

A few frames between two stretches are left aside, since a good recording goes on behind them; where nothing else is left,
somebody has to decide.
"""

from pipeline.config import CLIP_FRAMES
from pipeline.contract import Video
from pipeline.datasets.listing import where

_EXPECTED = f"expected at least {CLIP_FRAMES} frames (one clip)"


def is_left_aside(video: Video, num_frames: int) -> bool:
    """Say whether a video is one of several parts of a recording, and too short to be used."""
    return num_frames < CLIP_FRAMES and video.cut is not None and video.id != video.cut.recording


def remark_on_remainder(video: Video, num_frames: int) -> str:
    """Return what there is to say of a part that is left aside."""
    return (
        f"{where(video)}: {_EXPECTED} in its part {video.split}/{video.id}, found {num_frames}; left aside: widen a stretch "
        "of left_out.csv by it, or shorten one"
    )


def too_short(video: Video, num_frames: int) -> str:
    """Return the problem of a video of less than a clip."""
    cut = video.cut
    if cut is not None and (cut.start.value > 0 or cut.stop is not None):
        return f"{where(video)}: {_EXPECTED} in what left_out.csv leaves, found {num_frames}; leave out less, or all of it"
    return f"{where(video)}: {_EXPECTED}, found {num_frames}; remove it"
