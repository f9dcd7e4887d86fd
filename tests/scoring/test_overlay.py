"""What the overlay shows of a frame."""

from typing import Any

import numpy as np
import pytest

from scoring.live.overlay import Overlay, shown_regions, shown_size, with_heat
from scoring.live.scorer import Scored


def made(alarm: bool | None, *regions: tuple[int, float, bool]) -> Scored:
    """Return scores of frames 7 and 8 with regions (frame, score, whether it is an alarm)."""
    frames: list[Any] = [frame for frame, _, _ in regions]
    return Scored(
        frame_N=np.array([7, 8]),
        time_N=np.array([0.28, 0.32]),
        scores={"fused": np.array([1.0, 2.0])},
        alarm_N=None if alarm is None else np.array([False, alarm]),
        region_frame_R=np.array(frames, np.int64),
        box_R4=np.zeros((len(regions), 4)),
        region_score_R=np.array([score for _, score, _ in regions]),
        region_alarm_R=np.array([judged for _, _, judged in regions], np.bool_),
        source_R=["spatial"] * len(regions),
        maps={},
    )


def test_regions_that_are_alarms_are_shown() -> None:
    scored = made(True, (7, 9.0, True), (8, 5.0, True), (8, 3.0, False), (8, 6.0, True))
    assert shown_regions(scored, 0) == [0]
    assert shown_regions(scored, 1) == [1, 3]


def test_an_alarm_without_such_a_region_shows_its_highest_one_and_a_calm_frame_none() -> None:
    regions = ((7, 4.0, False), (8, 1.0, False), (8, 3.0, False))
    assert shown_regions(made(True, *regions), 1) == [2]
    assert shown_regions(made(False, *regions), 1) == []
    assert shown_regions(made(None, *regions), 1) == []
    assert shown_regions(made(True), 1) == []


@pytest.mark.parametrize("native", [(64, 96), (240, 320), (1080, 1920), (1920, 1080), (17, 4001), (3000, 33)])
def test_the_picture_is_even_neither_tiny_nor_huge_and_keeps_its_shape(native: tuple[int, int]) -> None:
    height, width = shown_size(*native)
    assert (height % 2, width % 2) == (0, 0)
    assert 2 <= height <= 720
    assert 2 <= width <= 960
    if min(native) > 60:
        assert width / height == pytest.approx(native[1] / native[0], rel=0.02)


def test_heat_is_where_errors_exceed_those_of_training_and_nowhere_else() -> None:
    frame_HWC = np.full((40, 60, 3), 100, np.uint8)
    calm, high = np.full((10, 15), 0.9, np.float16), np.full((10, 15), 0.5, np.float16)
    high[2:4, 3:6] = 8.0
    shown_HWC = with_heat(frame_HWC, [calm, high])
    assert (shown_HWC[30:, 40:] == 100).all()
    assert np.abs(shown_HWC[10, 18].astype(int) - 100).max() > 40


def test_a_frame_is_never_shown_before_the_one_that_came_before_it() -> None:
    overlay = Overlay.__new__(Overlay)
    overlay._fps, overlay._last = 25.0, -1
    ticks = [overlay._tick(seconds) for seconds in (0.0, 0.04, 0.04, 0.03, float("nan"), 1.0)]
    assert ticks[:2] == [0, 3600]
    assert ticks == sorted(set(ticks))
    assert ticks[-1] == 90_000
