"""Events and alarms, counted by hand."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.events import Counted, count_events, event_metrics, runs


def flags(text: str) -> np.ndarray:
    return np.array([letter == "1" for letter in text])


def counted(labels: str, alarms: str) -> Counted:
    return count_events(flags(labels), flags(alarms).astype(float), 0.5)


def test_an_event_is_detected_by_one_frame_under_alarm_and_late_by_the_frames_before_it() -> None:
    found = counted("0011110000", "0000100000")
    assert (found.events, list(found.delays), found.false_alarms) == (1, [2], 0)


def test_an_alarm_that_began_before_the_event_detects_it_at_once() -> None:
    found = counted("0011110000", "0111000000")
    assert (list(found.delays), found.false_alarms, found.false_frames) == ([0], 0, 1)


def test_an_alarm_without_any_anomalous_frame_is_false_and_counts_once() -> None:
    found = counted("0000001100", "0111000001")
    assert (found.false_alarms, found.false_frames, list(found.delays)) == (2, 4, [])


def test_one_alarm_may_detect_two_events() -> None:
    found = counted("0110110", "0111110")
    assert (found.events, list(found.delays), found.false_alarms) == (2, [0, 0], 0)


def test_a_score_at_the_threshold_is_an_alarm() -> None:
    assert count_events(flags("01"), np.array([1.0, 2.0]), 2.0).found_frames == 1
    assert count_events(flags("01"), np.array([1.0, 2.0]), np.nextafter(2.0, 3)).found_frames == 0


VIDEOS = {
    "a": (flags("0000111100"), flags("1000001100").astype(float)),
    "b": (flags("0000000000"), flags("0110000001").astype(float)),
    "c": (flags("1111111111"), flags("0000000000").astype(float)),
}


def test_numbers_of_all_videos_are_added_up() -> None:
    found = event_metrics(VIDEOS, 0.5, dict.fromkeys(VIDEOS, 2.0))
    assert (found["events"], found["detected_events"], found["detected_share"]) == (2, 1, 0.5)
    assert (found["false_alarms"], found["normal_hours"]) == (3, pytest.approx(16 / 2 / 3600))
    assert found["false_alarms_per_hour"] == pytest.approx(3 / (16 / 2 / 3600))
    assert (found["false_frame_share"], found["found_frame_share"]) == (4 / 16, 2 / 14)
    assert found["delay_frames"] == {"mean": 2.0, "median": 2.0, "max": 2.0}
    assert found["delay_seconds"] == {"mean": 1.0, "median": 1.0, "max": 1.0}


def test_each_video_has_its_own_frame_rate() -> None:
    found = event_metrics(VIDEOS, 0.5, {"a": 1.0, "b": 10.0, "c": 5.0})
    assert found["normal_hours"] == pytest.approx((6 / 1 + 10 / 10) / 3600)


def test_without_a_frame_rate_nothing_is_claimed_per_hour_and_the_video_is_named() -> None:
    found = event_metrics(VIDEOS, 0.5, {"a": 25.0, "b": 0.0, "c": 25.0})
    assert (found["false_alarms"], found["false_alarms_per_hour"], found["delay_seconds"]) == (3, None, None)
    assert "unknown for 1 of 3 videos, first b" in found["undefined"]


def test_without_events_or_detections_delays_are_undefined() -> None:
    found = event_metrics({"b": VIDEOS["b"]}, 0.5, {"b": 25.0})
    assert found["events"] == 0
    assert {found[name] for name in ("detected_share", "delay_frames", "found_frame_share")} == {None}
    assert event_metrics({"c": VIDEOS["c"]}, 0.5, {"c": 25.0})["false_alarms_per_hour"] is None


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=40), st.integers(0, 5))
def test_raising_the_threshold_never_finds_more(frames: list[tuple[bool, int]], threshold: int) -> None:
    label_N = np.array([label for label, _ in frames], np.bool_)
    score_N = np.array([float(score) for _, score in frames])
    low, high = (count_events(label_N, score_N, limit) for limit in (threshold, threshold + 1.0))
    assert len(high.delays) <= len(low.delays) <= low.events
    assert high.false_frames <= low.false_frames
    assert high.found_frames <= low.found_frames


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.booleans(), max_size=30))
def test_runs_cover_exactly_the_flags(values: list[bool]) -> None:
    flag_N = np.array(values, np.bool_)
    found = runs(flag_N)
    covered = {place for start, stop in found for place in range(start, stop)}
    assert covered == set(np.flatnonzero(flag_N).tolist())
    assert all(before[1] < after[0] for before, after in pairwise(found))
