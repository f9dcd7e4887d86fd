"""Thresholds for a chosen rate of false alarms, from normal training windows alone."""

import numpy as np
import pytest
from made_detector import MadeDetector

from pipeline.contract import DataError
from scoring.fusion import evidence
from scoring.protocols import DEPLOYMENT, PAPER
from scoring.scores import evidence_scale
from scoring.threshold import alarm_threshold, normal_evidence, tail_threshold


@pytest.mark.parametrize("rate", [0.5, 0.2, 0.1, 0.05, 0.01, 0.005])
def test_new_scores_of_the_same_kind_pass_it_about_as_often_as_asked_for(rate: float) -> None:
    random = np.random.default_rng(0)
    passed = []
    for _ in range(200):
        seen_W, new_W = (evidence(random.logistic(0, np.sqrt(3) / np.pi, size)) for size in (512, 2000))
        passed.append((new_W >= tail_threshold(seen_W, rate)).mean())
    assert np.mean(passed) == pytest.approx(rate, rel=0.25)


def test_the_fitted_tail_scatters_less_than_the_percentile() -> None:
    random = np.random.default_rng(0)
    samples = [random.exponential(1, 512) for _ in range(300)]
    fitted = np.std([tail_threshold(score_W, 0.01) for score_W in samples])
    assert fitted < 0.9 * np.std([np.quantile(score_W, 0.99) for score_W in samples])


def test_a_lower_rate_asks_for_a_higher_score_even_beyond_all_that_was_seen() -> None:
    score_W = np.random.default_rng(0).exponential(1, 300)
    thresholds = [tail_threshold(score_W, rate) for rate in (0.9, 0.5, 0.11, 0.1, 0.09, 0.01, 1e-6)]
    assert (np.diff(thresholds) > 0).all()
    assert thresholds[-1] > score_W.max()


def test_where_every_window_scores_alike_only_what_is_higher_is_an_alarm() -> None:
    assert tail_threshold(np.full(20, 3.0), 0.01) > 3
    assert tail_threshold(np.full(20, 3.0), 0.01) == pytest.approx(3)


@pytest.mark.parametrize("score_W", [np.zeros(0), np.array([1.0, np.nan]), np.array([np.inf, 1.0])])
def test_scores_that_are_missing_or_not_finite_are_refused_with_the_remedy(score_W: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"expected finite scores of normal training windows.*stpa train --force"):
        tail_threshold(score_W, 0.01)


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1, found 1"):
        tail_threshold(np.arange(9.0), 1.0)


@pytest.mark.parametrize("pooling", ["region", "frame"])
def test_the_threshold_is_on_the_fused_score_of_the_chosen_pooling(pooling: str) -> None:
    detector = MadeDetector()
    suffix = {"region": "", "frame": "_frame_mse"}[pooling]
    fused_W = np.zeros(detector.windows)
    for name in ("spatial" + suffix, "temporal" + suffix, "semantic"):
        value_W = detector.normal_values("last", name)
        assert value_W is not None
        scale = evidence_scale(detector, "last", name)
        fused_W += detector.weights[name] * scale * evidence(detector.calibrate("last", name, value_W))
    found = alarm_threshold(detector, DEPLOYMENT, "region" if pooling == "region" else "frame", 0.2)
    assert found == pytest.approx(np.quantile(fused_W, 0.8))


def test_there_is_none_where_scores_are_min_max_of_their_own_test_video() -> None:
    assert alarm_threshold(MadeDetector(), PAPER, "region", 0.01) is None


def test_there_is_none_for_a_model_that_does_not_know_its_training_windows() -> None:
    detector = MadeDetector()
    detector.windows = 0
    assert alarm_threshold(detector, DEPLOYMENT, "region", 0.01) is None
    assert normal_evidence(detector, "last", {"spatial": 1.0}) is None
