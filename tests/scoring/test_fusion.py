"""Fusion without labels: evidence adds up, wild values stay in proportion, calm in one respect excuses nothing."""

from collections.abc import Mapping

import numpy as np
import pytest
from scipy.stats import logistic

from scoring.fusion import evidence, fuse, oracle_weights


def test_evidence_is_the_tail_of_a_logistic_distribution_of_mean_0_and_standard_deviation_1() -> None:
    z_N = np.array([-4.0, -1.0, 0.0, 2.0, 7.0])
    standard = logistic(scale=1 / logistic.std())
    np.testing.assert_allclose(evidence(z_N), -standard.logsf(z_N) / np.log(10))


def test_evidence_keeps_the_order_of_the_wildest_scores_and_stays_finite() -> None:
    z_N = np.array([-30.0, 0.0, 8.0, 9.0, 400.0, 401.0, 1e6])
    assert (np.diff(evidence(z_N)) > 0).all()
    assert np.isfinite(evidence(np.array([-1e9, 1e9]))).all()


def test_a_wild_score_counts_in_proportion_not_by_its_square() -> None:
    ten, twenty = evidence(np.array([10.0, 20.0]))
    assert twenty / ten == pytest.approx(2.0, rel=0.01)


def test_to_be_unusually_normal_in_one_respect_does_not_excuse_another() -> None:
    weights = {"spatial": 1.0, "temporal": 1.0}
    alarm = evidence(np.array([5.0, 5.0]))
    calm = evidence(np.array([-3.0, -9.0]))
    fused_N = fuse({"spatial": alarm, "temporal": calm}, weights)
    np.testing.assert_allclose(fused_N, alarm, rtol=0.01)


def test_an_indicator_of_weight_0_has_no_part_in_the_fused_score() -> None:
    first, second = np.array([1.0, 2.0]), np.array([50.0, 0.0])
    np.testing.assert_array_equal(fuse({"a": first, "b": second}, {"a": 0.5, "b": 0.0}), first / 2)


def test_an_indicator_without_a_weight_is_refused() -> None:
    with pytest.raises(KeyError, match="temporal"):
        fuse({"temporal": np.zeros(2)}, {"spatial": 1.0})


def test_oracle_weights_climb_to_the_best_and_never_below_where_they_begin() -> None:
    start = {"a": 0.33, "b": 0.9, "c": 0.0}

    def quality(weights: Mapping[str, float]) -> float:
        return -abs(weights["a"] - 0.7) - abs(weights["b"] - 0.2) - abs(weights["c"] - 1.0)

    assert oracle_weights(start, quality) == {"a": 0.7, "b": 0.2, "c": 1.0}
    assert oracle_weights(start, lambda weights: 1.0) == start


def test_oracle_weights_are_never_all_zero() -> None:
    assert any(oracle_weights({"a": 0.5, "b": 0.5}, lambda weights: -sum(weights.values())).values())
