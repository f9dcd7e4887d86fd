"""What a training leaves: a bundle to which unusual video looks unusual."""

import numpy as np
import pytest
import squares
from squares import MadeInputs, make_street, make_training, silent, small_settings

from pipeline.contract import DataError
from trainer.bundle import Bundle
from trainer.indicators import Measurement
from trainer.training import train

SPEED_UP = 30  # the frame from which the square of the test video moves three times as fast


def measure(bundle: Bundle, speed: float) -> Measurement:
    street = make_street("test", frames=56, seed=8, speed=lambda frame: 1.0 if frame < SPEED_UP else speed, split="test")
    names = (("frames", "frames"), ("flows", "flow"), ("features-normal", "normal"))
    frames, flow, features = (street.arrays[name] for name in names)
    return bundle.measure(frames, flow, features)


@pytest.mark.parametrize("indicator", ["temporal", "temporal_frame_mse"])
def test_motion_of_another_speed_scores_higher_than_normal_motion(trained: Bundle, indicator: str) -> None:
    found = measure(trained, speed=3.0).taps["centre"]
    z_N = trained.calibrate("centre", indicator, found.values[indicator])
    fast_N = found.frame_index_N > SPEED_UP
    assert z_N[fast_N].min() > z_N[~fast_N].max()
    assert z_N[fast_N].mean() > 3


def test_new_normal_video_scores_about_as_training_did(trained: Bundle) -> None:
    found = measure(trained, speed=1.0).taps["centre"]
    for indicator in ("spatial", "temporal"):
        assert abs(trained.calibrate("centre", indicator, found.values[indicator]).mean()) < 3


def test_the_error_is_highest_where_the_fast_square_is(trained: Bundle) -> None:
    found = measure(trained, speed=3.0).taps["centre"]
    fast_N = found.frame_index_N > SPEED_UP + 8
    row_N = found.maps["temporal"][fast_N].max(2).argmax(1)
    assert (abs(row_N - 4) <= 1).all()  # the square keeps to pixel rows 12 to 19, cells 3 and 4


def test_indicators_that_tell_pseudo_anomalies_weigh_more_than_nothing(trained: Bundle) -> None:
    assert trained.fusion_weight("centre", "spatial") > 0.5
    assert trained.fusion_weight("centre", "temporal") > 0.1
    assert trained.fusion_weight("centre", "semantic") > 0.5


def test_the_bundle_tells_how_it_came_about(trained: Bundle) -> None:
    assert trained.info.losses.keys() == {"spatial", "temporal", "discriminator"}
    assert len(trained.info.losses["spatial"]) == 8
    assert trained.info.provenance["steps"] == {"spatial": 150, "temporal": 150}
    assert trained.info.provenance["discriminator_held_out_accuracy"] > 0.7


def test_without_discriminator_there_is_no_semantic_indicator_and_features_are_not_read() -> None:
    inputs = make_training(1)
    for street in inputs.streets.values():
        del street.arrays["features-normal", "normal"], street.arrays["features", "spatial_pa"]
    bundle = train(inputs, small_settings(epochs=0.2, discriminator_epochs=0, objects=False), silent)
    assert bundle.indicators == ("spatial", "temporal")
    street = make_street("test", frames=16, split="test")
    measured = bundle.measure(street.arrays["frames", "frames"], street.arrays["flows", "flow"])
    assert "semantic" not in measured.taps["last"].values


def test_features_that_are_not_finite_are_refused_with_the_name_of_the_video() -> None:
    broken = make_street("broken", seed=1)
    broken.arrays["features", "spatial_pa"][3, 2] = np.nan
    with pytest.raises(DataError, match="features of training video broken"):
        train(MadeInputs([make_street("whole"), broken]), small_settings(epochs=0.1), silent)


def test_only_the_training_split_is_read() -> None:
    inputs = make_training(1)
    test = make_street("test", seed=4, split="test")
    test.arrays.clear()
    train(MadeInputs([*inputs.streets.values(), test]), small_settings(epochs=0.1), silent)


def test_networks_that_see_reduced_pictures_score_and_map_frames_of_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squares, "WIDTH", 64)  # half of it must be a multiple of 16
    bundle = train(make_training(1), small_settings(epochs=0.2, discriminator_epochs=0, reduce=2), silent)
    street = make_street("test", frames=20, split="test")
    found = bundle.measure(street.arrays["frames", "frames"], street.arrays["flows", "flow"]).taps["last"]
    assert found.maps["temporal"].shape == (20, 32 // 4, 64 // 4)
    assert np.isfinite(found.values["spatial"]).all()
