"""What an operator would see at a threshold: which events are noticed, how late, and how often nothing is wrong.

An event is an unbroken run of anomalous frames of a video, an alarm one of frames with ``score >= threshold``. An event is
detected if an alarm touches it; its delay runs from its first frame to its first frame under alarm. An alarm is false if no
frame of it is anomalous. An alarm that never ends is no false one in a video with an event, so the share of normal frames
under alarm stands beside. False alarms are counted per hour of normal video: only there can there be any.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoring.metrics import LabelledScores

RULE = "alarm where score >= threshold"


@dataclass(frozen=True, kw_only=True)
class Counted:
    """One video at one threshold."""

    events: int
    delays: Sequence[int]
    """Frames, of each detected event."""
    false_alarms: int
    normal_frames: int
    false_frames: int
    """Normal frames under alarm."""
    anomalous_frames: int
    found_frames: int
    """Anomalous frames under alarm."""


def count_events(label_N: NDArray[np.bool_], score_N: NDArray[np.float64], threshold: float) -> Counted:
    """Count events and alarms of one video, of consecutive frames."""
    alarm_N = score_N >= threshold
    events, alarms = runs(label_N), runs(alarm_N)
    delays = [int(np.argmax(alarm_N[start:stop])) for start, stop in events if alarm_N[start:stop].any()]
    return Counted(
        events=len(events),
        delays=delays,
        false_alarms=sum(not label_N[start:stop].any() for start, stop in alarms),
        normal_frames=int((~label_N).sum()),
        false_frames=int((alarm_N & ~label_N).sum()),
        anomalous_frames=int(label_N.sum()),
        found_frames=int((alarm_N & label_N).sum()),
    )


def runs(flag_N: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return start and stop (exclusive) of every run of True."""
    edge_K = np.flatnonzero(np.diff(np.concatenate([[False], flag_N, [False]]).astype(np.int8)))
    return list(zip(edge_K[::2].tolist(), edge_K[1::2].tolist(), strict=True))


def event_metrics(videos: LabelledScores, threshold: float, fps: Mapping[str, float]) -> dict[str, Any]:
    """Return what happens at a threshold, as plain JSON values, None where undefined.

    ``fps`` are the frames per second of each video, 0 where unknown; then what is per hour or in seconds is undefined, and
    ``undefined`` says why.
    """
    counted = {video: count_events(*pair, threshold) for video, pair in videos.items()}
    every = list(counted.values())
    events, detected = sum(count.events for count in every), sum(len(count.delays) for count in every)
    false_alarms = sum(count.false_alarms for count in every)
    result: dict[str, Any] = {
        "threshold": threshold,
        "rule": RULE,
        "events": events,
        "detected_events": detected,
        "detected_share": _share(detected, events),
        "false_alarms": false_alarms,
        "false_frame_share": _share(*_sums(every, "false_frames", "normal_frames")),
        "found_frame_share": _share(*_sums(every, "found_frames", "anomalous_frames")),
        "delay_frames": _spread([delay for count in every for delay in count.delays]),
        "delay_seconds": None,
        "normal_hours": None,
        "false_alarms_per_hour": None,
    }
    unknown = [video for video in videos if not fps.get(video)]
    if unknown:
        result["undefined"] = (
            f"frames per second are unknown for {len(unknown)} of {len(videos)} videos, first {unknown[0]}: "
            "nothing in hours or seconds (eval.fps, or --fps with --scores)"
        )
        return result
    hours = sum(count.normal_frames / fps[video] for video, count in counted.items()) / 3600
    seconds = [delay / fps[video] for video, count in counted.items() for delay in count.delays]
    per_hour = false_alarms / hours if hours else None
    return result | {"delay_seconds": _spread(seconds), "normal_hours": hours, "false_alarms_per_hour": per_hour}


def _sums(every: Sequence[Counted], *names: str) -> list[int]:
    return [sum(getattr(count, name) for count in every) for name in names]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _spread(delays: Sequence[float]) -> dict[str, float] | None:
    """Return mean, median and greatest delay of the detected events; None where none was detected."""
    if not delays:
        return None
    return {"mean": float(np.mean(delays)), "median": float(np.median(delays)), "max": float(np.max(delays))}
