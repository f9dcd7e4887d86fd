"""Metrics against values computed by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.metrics import (
    auc,
    average_precision,
    equal_error_rate,
    one_class,
    overall,
    padded_aucs,
    per_video,
    video_auc,
)

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
    assert set(overall({}).values()) == {None}
    assert set(overall({"v": (np.zeros(3, np.bool_), np.arange(3.0))}).values()) == {None}


def test_the_equal_error_rate_lies_where_both_kinds_of_error_are_as_frequent() -> None:
    label_N = np.array([False] * 4 + [True] * 4)
    score_N = np.array([1.0, 2, 3, 6, 4, 5, 7, 8])  # at 5: one of four normal ones above, one of four anomalous ones below
    assert equal_error_rate(label_N, score_N) == pytest.approx(1 / 4)
    assert equal_error_rate(np.array([False, True]), np.array([2.0, 2.0])) == pytest.approx(1 / 2)
    assert equal_error_rate(label_N, label_N.astype(float)) == 0
    assert equal_error_rate(label_N, -label_N.astype(float)) == 1


def test_macro_auc_pads_each_video_with_the_lowest_and_the_highest_score_of_all() -> None:
    videos = {
        "mixed": (np.array([False, True]), np.array([0.4, 0.2])),
        "normal": (np.array([False, False]), np.array([0.0, 1.0])),
    }
    mixed = 3 / 4  # of (0, 0), (0, 0.4), (1, 0.2), (1, 1): one pair of four is in the wrong order
    normal = (1 + 0.5 + 1) / 3  # 0 below 1, 1 beside 1, 0 below 1
    found = padded_aucs(videos, {"mixed": 0.0, "normal": None})
    assert found == {"mixed": pytest.approx(mixed), "normal": pytest.approx(normal)}
    assert overall(videos)["macro_auc"] == pytest.approx((mixed + normal) / 2)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=9), min_size=1, max_size=4))
def test_macro_auc_is_the_mean_auc_of_videos_with_two_more_frames(drawn: list[list[tuple[bool, int]]]) -> None:
    videos = {
        str(number): (np.array([label for label, _ in frames]), np.array([float(score) for _, score in frames]))
        for number, frames in enumerate(drawn)
    }
    every = np.concatenate([score_N for _, score_N in videos.values()])
    longer = [
        auc(np.append(label_N, [False, True]), np.append(score_N, [every.min(), every.max()]))
        for label_N, score_N in videos.values()
    ]
    expected = np.mean([value for value in longer if value is not None])
    found = overall(videos)["macro_auc"]
    assert found is None if one_class(np.concatenate([label_N for label_N, _ in videos.values()])) else found == (
        pytest.approx(expected)
    )


def test_without_padding_only_videos_of_both_classes_count() -> None:
    videos = {"mixed": (LABEL, SCORE), "normal": (np.zeros(3, np.bool_), np.arange(3.0))}
    assert overall(videos)["mean_video_auc"] == pytest.approx(3 / 4)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(st.booleans(), st.integers(-9, 9)), min_size=2, max_size=30))
def test_metrics_depend_on_the_order_of_scores_alone(frames: list[tuple[bool, int]]) -> None:
    label_N, score_N = np.array([label for label, _ in frames]), np.array([float(score) for _, score in frames])
    assert overall({"v": (label_N, score_N)}) == pytest.approx(overall({"v": (label_N, np.exp(score_N / 3) - 7)}))


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(st.booleans(), st.integers(-9, 9)), min_size=2, max_size=30))
def test_turning_scores_over_turns_auc_and_error_rate_over(frames: list[tuple[bool, int]]) -> None:
    label_N, score_N = np.array([label for label, _ in frames]), np.array([float(score) for _, score in frames])
    if one_class(label_N):
        return
    there, back = auc(label_N, score_N), auc(label_N, -score_N)
    assert there is not None
    assert back == pytest.approx(1 - there)
    there, back = equal_error_rate(label_N, score_N), equal_error_rate(label_N, -score_N)
    assert there is not None
    assert back == pytest.approx(1 - there)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(st.booleans(), st.integers(-50, 50)), min_size=2, max_size=40))
def test_auc_equals_its_definition_by_counting_pairs(frames: list[tuple[bool, int]]) -> None:
    label_N, score_N = np.array([label for label, _ in frames]), np.array([float(score) for _, score in frames])
    above, below = score_N[label_N], score_N[~label_N]
    if not len(above) or not len(below):
        assert auc(label_N, score_N) is None
        assert video_auc(label_N, score_N) is None
        return
    difference = above[:, None] - below[None, :]
    expected = (np.sum(difference > 0) + 0.5 * np.sum(difference == 0)) / difference.size
    assert auc(label_N, score_N) == pytest.approx(float(expected))
    assert video_auc(label_N, score_N) == pytest.approx(float(expected))
