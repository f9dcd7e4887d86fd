"""The yardstick: normal windows have z-scores around 0, and places are judged by what is usual there."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from squares import HEIGHT, WIDTH, small_settings

from trainer.calibration import Calibration, Logits, Network, Sample, auc, calibrate, learn_places, pool
from trainer.indicators import TAPS, Errors

CELLS = (HEIGHT // 4, WIDTH // 4)


def errors(random: np.random.Generator, count: int, level: float) -> Errors:
    map_Nhw = torch.from_numpy(level * random.lognormal(0, 0.5, (count, *CELLS))).float()
    return Errors(frame_mse_N=map_Nhw.mean((1, 2)), map_Nhw=map_Nhw)


def made_calibration(pseudo_level: float = 3.0, **changes: Any) -> tuple[Calibration, dict[Network, Sample]]:
    random = np.random.default_rng(0)
    samples: dict[Network, Sample] = {}
    for network in ("spatial", "temporal"):
        samples[network] = Sample(
            normal={tap: errors(random, 60, 0.01) for tap in TAPS},
            pseudo={tap: errors(random, 20, 0.01 * pseudo_level) for tap in TAPS},
            twin_P={tap: np.arange(0, 60, 3) for tap in TAPS},
        )
    logits = Logits(normal_N=random.normal(-1, 2, 80), pseudo_P=random.normal(1, 2, 30))
    return calibrate(samples, logits, small_settings(**changes)), samples


def test_normal_values_have_z_scores_of_mean_0_and_spread_1() -> None:
    calibration, samples = made_calibration()
    for network, sample in samples.items():
        for tap in TAPS:
            values = pool(network, sample.normal[tap], calibration.pooling[network, tap]).values
            for name in (network, f"{network}_frame_mse"):
                z_N = calibration.z(tap, name, values[name])
                assert z_N.mean() == pytest.approx(0, abs=1e-9)
                assert z_N.std() == pytest.approx(1)


def test_z_scores_grow_with_the_error_and_count_its_logarithm() -> None:
    calibration, _ = made_calibration()
    z = calibration.z("centre", "temporal_frame_mse", np.array([0.001, 0.01, 0.1]))
    assert z[1] - z[0] == pytest.approx(z[2] - z[1])
    assert z[1] > z[0]
    assert np.isfinite(calibration.z("centre", "temporal_frame_mse", np.array([0.0]))).all()
    logit: NDArray[np.float64] = np.array([-1.0, 0.0, 1.0])
    assert np.diff(calibration.z("last", "semantic", logit)).std() == pytest.approx(0, abs=1e-9)


def test_an_unknown_indicator_is_refused_with_those_that_are_known() -> None:
    calibration, _ = made_calibration()
    with pytest.raises(KeyError, match="no calibration of 'audio' at tap 'last'; known are semantic, spatial"):
        calibration.z("last", "audio", np.zeros(1))
    with pytest.raises(KeyError, match="audio"):
        calibration.fusion_weight("last", "audio")


def test_an_error_counts_less_where_errors_are_usual() -> None:
    random = np.random.default_rng(0)
    quiet = 0.001 * random.random((100, 32, 48))
    quiet[:, :, 30:] *= 40
    pooling = learn_places("temporal", torch.from_numpy(quiet).float(), small_settings(place_floor=0.02))
    left, right = torch.zeros(1, 32, 48), torch.zeros(1, 32, 48)
    left[0, 16, 8] = right[0, 16, 42] = 0.5
    assert pooling.pool(pooling.ratio(left))[0] > 10 * pooling.pool(pooling.ratio(right))[0]
    even = learn_places("temporal", torch.from_numpy(quiet).float(), small_settings(place_floor=1.0))
    assert even.pool(even.ratio(left))[0] == pytest.approx(even.pool(even.ratio(right))[0], rel=0.01)


def test_normal_video_reaches_about_1_at_its_busiest_moments() -> None:
    calibration, samples = made_calibration()
    pooled = pool("spatial", samples["spatial"].normal["centre"], calibration.pooling["spatial", "centre"])
    assert 0.8 < np.quantile(pooled.values["spatial"], 0.9) < 3


def test_auc_agrees_with_scikit_learn_ties_included() -> None:
    random = np.random.default_rng(0)
    normal, abnormal = random.integers(0, 9, 70).astype(float), random.integers(3, 12, 40).astype(float)
    labels = np.r_[np.zeros(70), np.ones(40)]
    assert auc(normal, abnormal) == pytest.approx(roc_auc_score(labels, np.r_[normal, abnormal]))
    assert np.isnan(auc(normal, np.zeros(0)))


def test_an_indicator_weighs_what_it_tells_of_pseudo_anomalies() -> None:
    clear, blind, wrong = (made_calibration(level)[0] for level in (30.0, 1.0, 0.1))
    for name in ("spatial", "spatial_frame_mse", "temporal"):
        assert clear.fusion_weight("centre", name) == 1
        assert blind.fusion_weight("centre", name) < 0.5
        assert wrong.fusion_weight("centre", name) == 0
    expected = 2 * clear.separation["last", "semantic"] - 1
    assert clear.fusion_weight("last", "semantic") == pytest.approx(expected)
    assert 0.3 < expected < 0.8


def test_where_nothing_could_be_changed_every_indicator_weighs_the_same() -> None:
    _, samples = made_calibration()
    none = np.zeros(0, dtype=np.int64)
    unchanged: dict[Network, Sample] = {
        network: Sample(
            normal=sample.normal,
            pseudo={tap: sample.normal[tap].take(none) for tap in TAPS},
            twin_P=dict.fromkeys(TAPS, none),
        )
        for network, sample in samples.items()
    }
    calibration = calibrate(unchanged, None, small_settings())
    assert {calibration.fusion_weight("centre", name) for name in ("spatial", "temporal")} == {1.0}


def test_it_survives_being_stored() -> None:
    calibration, samples = made_calibration()
    again = Calibration.from_tensors(calibration.tensors(), small_settings(), (HEIGHT, WIDTH))
    values = np.array([0.003, 0.02])
    for tap in TAPS:
        for name in ("spatial", "temporal", "temporal_frame_mse", "semantic"):
            np.testing.assert_array_equal(again.z(tap, name, values), calibration.z(tap, name, values))
            assert again.fusion_weight(tap, name) == calibration.fusion_weight(tap, name)
    found = {tap: samples["spatial"].pseudo[tap] for tap in TAPS}
    for tap, pooled in again.pooled("spatial", found).items():
        np.testing.assert_array_equal(pooled.values["spatial"], calibration.pooled("spatial", found)[tap].values["spatial"])


def test_a_place_map_of_another_frame_size_is_refused() -> None:
    calibration, _ = made_calibration()
    with pytest.raises(ValueError, match=r"expected place\.spatial\.centre of shape \(16, 12\), found \(8, 12\)"):
        Calibration.from_tensors(calibration.tensors(), small_settings(), (64, WIDTH))
