"""Trivial baselines on videos made up so that the right values can be told."""

import numpy as np
import pytest

from scoring.baselines import BASELINES, MOTION, constant_score, motion_rows, noise, trivial_scores

FRAMES, HEIGHT, WIDTH = 12, 20, 40


def scores_of(fast: int) -> dict[str, np.ndarray]:
    """Return the scores of a still video in which one twentieth of the frame moves on to frame ``fast``, 3-4-5 pixels."""
    frames_THWC = np.zeros((FRAMES, HEIGHT, WIDTH, 1), np.uint8)
    frames_THWC[fast:, :2, :20] = 200  # 40 of 800 pixels become brighter, once
    flow_T2HW = np.zeros((FRAMES - 1, 2, HEIGHT, WIDTH), np.float16)
    flow_T2HW[fast - 1, :, :2, :20] = np.array([3, 4])[:, None, None]
    return trivial_scores("v", motion_rows(frames_THWC, flow_T2HW))


def test_there_is_a_score_for_every_frame_under_every_baseline_that_knows_no_labels() -> None:
    scores = scores_of(5)
    assert set(scores) == {name for name, baseline in BASELINES.items() if not baseline.oracle}
    assert all(score_T.shape == (FRAMES,) and np.isfinite(score_T).all() for score_T in scores.values())


def test_frame_difference_and_flow_are_those_on_arriving_at_the_frame() -> None:
    scores = scores_of(5)
    np.testing.assert_allclose(scores["frame_difference"], np.eye(FRAMES)[5] * 200 * 40 / 800)
    np.testing.assert_allclose(scores["flow_mean"], np.eye(FRAMES)[5] * 5 * 40 / 800)


def test_darkening_counts_as_much_as_brightening() -> None:
    frames_NHWC = np.array([250, 10], np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    row = motion_rows(frames_NHWC, np.zeros((1, 2, 4, 4), np.float16))[0]
    assert row[list(MOTION).index("frame_difference")] == pytest.approx(240)


def test_percentiles_of_flow_see_a_region_as_soon_as_it_is_large_enough() -> None:
    scores = scores_of(5)
    assert scores["flow_p99"][5] == pytest.approx(5)
    assert scores["flow_p98"][5] == pytest.approx(5)
    assert scores["flow_p95"][5] < 5  # exactly 95 % of the frame stands still


def test_frame_0_takes_the_motion_of_frame_1() -> None:
    scores = scores_of(1)
    assert scores["flow_p99"][0] == scores["flow_p99"][1] == pytest.approx(5)
    assert scores["frame_difference"][0] == scores["frame_difference"][1] > 0


def test_smoothing_spreads_a_peak_over_neighbouring_frames() -> None:
    scores = scores_of(6)
    smooth_T = scores["flow_p99_smoothed"]
    assert smooth_T.argmax() == 6
    assert 0 < smooth_T[4] < smooth_T[5] < smooth_T[6] < scores["flow_p99"][6]


def test_time_runs_from_0_to_1() -> None:
    np.testing.assert_allclose(scores_of(5)["time"], np.arange(FRAMES) / (FRAMES - 1))


def test_noise_depends_on_the_video_alone() -> None:
    np.testing.assert_array_equal(noise("a", 50), noise("a", 50))
    assert not np.allclose(noise("a", 50), noise("b", 50))
    assert 0 <= noise("a", 1000).min() < 0.05
    assert 0.95 < noise("a", 1000).max() < 1


def test_the_constant_of_a_video_is_its_share_of_anomalous_frames_and_marked_as_an_oracle() -> None:
    np.testing.assert_array_equal(constant_score(np.array([True, False, False, True])), np.full(4, 0.5))
    assert [name for name, baseline in BASELINES.items() if baseline.oracle] == ["constant"]
    assert not BASELINES["constant"].per_video
