"""Confidence intervals over videos: a sample counts videos as copies of them would, and the whole is seeded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.bootstrap import bootstrap, draw_weights, interval
from scoring.intervals import PairCounts, RankedFrames, auc_intervals, margin_interval, rate_intervals
from scoring.metrics import LabelledScores, overall

videos_strategy = st.lists(
    st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=8), min_size=1, max_size=5
)


def labelled(videos: list[list[tuple[bool, int]]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {
        str(number): (np.array([label for label, _ in frames]), np.array([float(score) for _, score in frames]))
        for number, frames in enumerate(videos)
    }


def noisy(videos: int, seed: int = 0, gain: float = 1.0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(seed)
    found = {}
    for number in range(videos):
        label_N = np.arange(60) >= 30 if number % 3 else np.zeros(60, np.bool_)
        found[str(number)] = (label_N, random.normal(0, 1, 60) + gain * label_N)
    return found


@settings(deadline=None)
@given(videos_strategy, st.data())
def test_a_video_that_was_drawn_twice_counts_like_two_copies(
    drawn: list[list[tuple[bool, int]]], data: st.DataObject
) -> None:
    videos = labelled(drawn)
    weight = data.draw(st.lists(st.integers(0, 3), min_size=len(videos), max_size=len(videos)).filter(any))
    weight_1V = np.array([weight], np.float64)
    found = PairCounts.of(videos).areas(weight_1V) | RankedFrames.of(videos).rates(weight_1V)
    copies: LabelledScores = {
        f"{name}/{copy}": pair for (name, pair), times in zip(videos.items(), weight, strict=True) for copy in range(times)
    }
    expected = overall(copies)
    if expected["micro_auc"] is None:
        assert all(np.isnan(value_B[0]) for value_B in found.values())
        return
    for name in set(expected) - {"macro_auc"}:  # of which the padding depends on the whole set
        wanted = np.nan if expected[name] is None else expected[name]
        assert found[name][0] == pytest.approx(wanted, nan_ok=True), name


@settings(deadline=None)
@given(videos_strategy)
def test_videos_that_count_once_give_the_metrics_themselves(drawn: list[list[tuple[bool, int]]]) -> None:
    videos = labelled(drawn)
    ones = np.ones((1, len(videos)))
    found = PairCounts.of(videos).areas(ones) | RankedFrames.of(videos).rates(ones)
    for name, value in overall(videos).items():
        assert found[name][0] == pytest.approx(np.nan if value is None else value, nan_ok=True), name


def test_intervals_hold_the_value_and_narrow_with_more_videos() -> None:
    few, many = noisy(6), noisy(120)
    for videos in (few, many):
        value = overall(videos)
        for name, ends in (auc_intervals(videos, samples=400) | rate_intervals(videos, samples=400)).items():
            assert ends is not None
            assert ends[0] < value[name] < ends[1], name  # type: ignore[operator]
    widths = [np.diff(auc_intervals(videos, samples=400)["micro_auc"] or [])[0] for videos in (few, many)]
    assert widths[1] < widths[0] / 2


def test_the_interval_of_a_normal_mean_is_the_textbook_one() -> None:
    value_V = np.random.default_rng(3).normal(5, 2, 400)
    ends = bootstrap(lambda weight_BV: {"mean": weight_BV @ value_V / 400}, 400, samples=4000, seed=0)["mean"]
    half = 1.96 * value_V.std() / np.sqrt(400)
    assert ends == pytest.approx([value_V.mean() - half, value_V.mean() + half], abs=0.02)


def test_equal_seeds_give_equal_intervals_and_others_do_not() -> None:
    videos = noisy(6)
    assert auc_intervals(videos, samples=50, seed=1) == auc_intervals(videos, samples=50, seed=1)
    assert auc_intervals(videos, samples=50, seed=1) != auc_intervals(videos, samples=50, seed=2)


def test_how_many_samples_are_taken_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    videos = noisy(6)
    found = []
    for numbers in (1, 1000, 10**6):
        monkeypatch.setattr("scoring.intervals.NUMBERS_AT_ONCE", numbers)
        found.append(rate_intervals(videos, samples=40))
    for name, ends in found[0].items():
        assert found[1][name] == pytest.approx(ends, rel=1e-12)
        assert found[2][name] == pytest.approx(ends, rel=1e-12)


def test_every_sample_draws_as_many_videos_as_there_are() -> None:
    weight_BV = draw_weights(7, 300, seed=0)
    assert (weight_BV.sum(axis=1) == 7).all()
    np.testing.assert_allclose(weight_BV.mean(axis=0), 1, atol=0.25)


def test_samples_in_which_a_metric_is_undefined_are_left_out() -> None:
    assert interval(np.array([np.nan, 1.0, 1.0, 1.0])) == [1.0, 1.0]
    videos = {"a": (np.array([False, True]), np.array([0.0, 1.0])), "b": (np.array([False, False]), np.array([0.0, 1.0]))}
    assert auc_intervals(videos, samples=200)["micro_auc"] is not None  # three of four samples hold video a


def test_no_interval_is_claimed_where_most_samples_leave_it_undefined() -> None:
    assert interval(np.array([np.nan, np.nan, 1.0])) is None
    normal = {name: (np.zeros(4, np.bool_), np.arange(4.0)) for name in "abc"}
    assert set((auc_intervals(normal, samples=20) | rate_intervals(normal, samples=20)).values()) == {None}


def test_without_samples_or_videos_there_is_no_interval() -> None:
    assert set(auc_intervals(noisy(3), samples=0).values()) == {None}
    assert set((auc_intervals({}, samples=9) | rate_intervals({}, samples=9)).values()) == {None}
    assert margin_interval({}, {}, samples=9) is None


def test_a_margin_is_drawn_from_the_same_videos_for_both() -> None:
    videos = noisy(12)
    assert margin_interval(videos, videos, samples=100) == [0.0, 0.0]
    better = {name: (label_N, score_N + 2 * label_N) for name, (label_N, score_N) in videos.items()}
    low, high = margin_interval(better, videos, samples=100) or (0, 0)
    assert 0 < low < high
