"""Metrics against values computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.metrics import auc, average_precision, overall, per_video

LABEL = np.array([False, False, True, True])
SCORE = np.array([0.1, 0.4, 0.35, 0.8])


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    assert auc(LABEL, SCORE) == pytest.approx(3 / 4)


def test_ties_count_half() -> None:
    assert auc(np.array([False, True]), np.array([2.0, 2.0])) == pytest.approx(0.5)


def test_average_precision_is_the_mean_of_precisions_at_the_anomalous_frames() -> None:
    assert average_precision(LABEL, SCORE) == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_micro_auc_pools_frames_so_that_levels_of_videos_matter() -> None:
    videos = {"a": (np.array([False, True]), np.array([0.0, 1.0])), "b": (np.array([False, True]), np.array([5.0, 6.0]))}
    assert [value["auc"] for value in per_video(videos).values()] == [1.0, 1.0]
    assert overall(videos)["micro_auc"] == pytest.approx(3 / 4)  # the normal frame of b lies above the anomalous one of a


@pytest.mark.parametrize(("label", "why"), [(True, "every frame is anomalous"), (False, "every frame is normal")])
def test_a_video_of_one_class_has_no_auc_and_says_why(label: bool, why: str) -> None:
    found = per_video({"v": (np.full(3, label), np.arange(3.0))})
    assert found == {"v": {"auc": None, "undefined": why}}


def test_without_any_labelled_video_nothing_is_claimed() -> None:
    assert overall({}) == {"micro_auc": None, "average_precision": None}


@given(st.lists(st.tuples(st.booleans(), st.integers(-50, 50)), min_size=2, max_size=40))
def test_auc_equals_its_definition_by_counting_pairs(frames: list[tuple[bool, int]]) -> None:
    label_N, score_N = np.array([label for label, _ in frames]), np.array([float(score) for _, score in frames])
    above, below = score_N[label_N], score_N[~label_N]
    if not len(above) or not len(below):
        assert auc(label_N, score_N) is None
        return
    difference = above[:, None] - below[None, :]
    expected = (np.sum(difference > 0) + 0.5 * np.sum(difference == 0)) / difference.size
    assert auc(label_N, score_N) == pytest.approx(float(expected))
