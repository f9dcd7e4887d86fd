"""What normal windows would measure as new video: each fold judged by what the others teach, row by row the same windows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from squares import HEIGHT, WIDTH, make_training, silent, small_settings

from pipeline.models.objects import Objects
from trainer.bundle import Bundle, load_bundle, save_bundle
from trainer.calibration import Network, Sample, calibrate
from trainer.clips import TrainingData, load_training_data
from trainer.indicators import TAPS, Errors
from trainer.objects import FrameObjects, over_window
from trainer.sample import sampled_windows
from trainer.threshold import NormalWindows, folds, normal_windows
from trainer.training import train

CELLS = (HEIGHT // 4, WIDTH // 4)


def training_data(videos: int) -> TrainingData:
    return load_training_data(make_training(videos), small_settings(), torch.device("cpu"), silent)


def made_sample(count: int, loud: NDArray[np.int64]) -> Sample:
    """Windows of equal errors, but for one place where some windows have 50 times as much."""
    map_Nhw = 0.01 * torch.from_numpy(np.random.default_rng(0).lognormal(0, 0.2, (count, *CELLS))).float()
    map_Nhw[loud, 3:5, 5:7] *= 50
    errors = {tap: Errors(frame_mse_N=map_Nhw.mean((1, 2)), map_Nhw=map_Nhw) for tap in TAPS}
    none: NDArray[np.int64] = np.zeros(0, np.int64)
    return Sample(normal=errors, pseudo={tap: errors[tap].take(none) for tap in TAPS}, twin_P=dict.fromkeys(TAPS, none))


def measured(
    loud_video: int | None, networks: tuple[Network, ...] = ("spatial",), objects: FrameObjects | None = None
) -> tuple[NormalWindows, NDArray[np.int64]]:
    """Return what windows of 4 videos measure, and the video of each; one video is loud at one place."""
    data = training_data(4)
    start_W = np.sort(data.start_C)[::5]
    video_W = start_W // 40
    loud = np.flatnonzero(video_W == loud_video) if loud_video is not None else np.zeros(0, np.int64)
    samples = {network: made_sample(len(start_W), loud) for network in networks}
    objects_W = None if objects is None else over_window(objects.worst(), start_W, 0)
    calibration = calibrate(samples, None, small_settings(), objects_W)
    logit_N = np.arange(160, dtype=np.float64)
    found = normal_windows(samples, calibration, data, start_W, small_settings(), logit_N=logit_N, objects=objects)
    return found, video_W


def made_objects(score: float, frames: int = 160) -> FrameObjects:
    """Return one object in each frame, at the same place, of which every third is unusual."""
    return FrameObjects(
        objects=Objects(
            frame_N=np.arange(frames),
            box_N4=np.tile(np.array([20, 12, 8, 8]), (frames, 1)),  # cells 3 to 4, 5 to 6
            area_N=np.full(frames, 64),
            motion_N4=np.zeros((frames, 4), np.float32),
            whole_N=np.ones(frames, np.bool_),
        ),
        score_N=np.where(np.arange(frames) % 3 == 0, score, 0.5),
        frames=frames,
    )


def test_folds_are_whole_videos() -> None:
    data = training_data(6)
    fold_W = folds(data.start_C, data)
    assert [np.unique(fold_W[data.start_C // 40 == video]).tolist() for video in range(6)] == [[0], [1], [2], [3], [0], [1]]


def test_the_quarters_of_a_single_video_stand_in_for_videos() -> None:
    data = training_data(1)
    assert folds(np.array([0, 9, 10, 24]), data).tolist() == [0, 0, 1, 2]


def test_a_video_that_is_loud_where_no_other_is_does_not_excuse_itself() -> None:
    found, video_W = measured(loud_video=2)
    value_W = found.values["last", "spatial"]
    assert value_W[video_W == 2].min() > 5 * value_W[video_W != 2].max()


def test_videos_alike_measure_about_what_training_shows() -> None:
    found, _ = measured(loud_video=None)
    assert 0.5 < np.median(found.values["last", "spatial"]) < 2


def test_the_peak_is_the_worst_place_and_no_quantile_of_it() -> None:
    found, _ = measured(loud_video=1)
    assert (found.values["centre", "spatial_peak"] >= found.values["centre", "spatial"]).all()


def test_the_peak_of_all_maps_is_their_evidence_at_one_place_added_up() -> None:
    alone, video_W = measured(1)
    both, _ = measured(1, ("spatial", "temporal"))
    for tap in TAPS:
        # both networks have the same errors here, so that their worst places coincide
        np.testing.assert_allclose(both.values[tap, "map_peak"], 2 * alone.values[tap, "map_peak"], rtol=1e-6)
    peak_W = alone.values["last", "map_peak"]
    assert peak_W[video_W == 1].min() > peak_W[video_W != 1].max()


def test_maps_whose_worst_places_differ_peak_below_the_sum_of_their_peaks() -> None:
    objects = made_objects(3.0)
    errors, _ = measured(1)
    both, video_W = measured(1, objects=objects)
    gained_W = both.values["last", "map_peak"] - errors.values["last", "map_peak"]
    unusual_W = both.values["last", "objects_peak"] == 3.0
    assert unusual_W.any()
    assert (gained_W >= 0).all()
    # in the loud video the object stands where the error is; elsewhere it is not where the error is highest
    assert gained_W[unusual_W & (video_W == 1)].min() > gained_W[unusual_W & (video_W != 1)].max()


def test_objects_are_those_of_the_window_and_their_peak_is_that_of_the_scored_frame() -> None:
    objects = made_objects(3.0)
    found, _ = measured(None, objects=objects)
    start_W = np.sort(training_data(4).start_C)[::5]
    for tap, index in TAPS.items():
        np.testing.assert_array_equal(found.values[tap, "objects_peak"], objects.worst()[start_W + index])
        means = [objects.score_N[start : start + 16].mean() for start in start_W]
        np.testing.assert_allclose(found.values[tap, "objects"], means)


def test_values_of_single_frames_are_those_of_the_scored_frame_of_each_window() -> None:
    found, _ = measured(loud_video=None)
    start_W = np.sort(training_data(4).start_C)[::5]
    for tap, index in TAPS.items():
        np.testing.assert_array_equal(found.values[tap, "semantic"], start_W + index)


def test_training_leaves_the_same_windows_for_every_indicator(trained: Bundle) -> None:
    of_networks = {f"{name}{kind}" for name in ("spatial", "temporal") for kind in ("", "_frame_mse", "_peak")}
    assert {name for _, name in trained.windows.values} == of_networks | {"semantic", "objects", "objects_peak", "map_peak"}
    for value_W in trained.windows.values.values():
        assert value_W.shape == (trained.info.settings.calibration_windows,)
        assert np.isfinite(value_W).all()


def test_the_sampled_windows_are_those_that_both_networks_measured(trained: Bundle) -> None:
    data = training_data(3)
    start_W = sampled_windows(data, small_settings())
    assert len(np.unique(start_W)) == len(start_W) == 16
    np.testing.assert_array_equal(start_W, sampled_windows(data, small_settings()))


def test_they_survive_being_stored(trained: Bundle, tmp_path: Path) -> None:
    save_bundle(tmp_path, trained)
    again = load_bundle(tmp_path, torch.device("cpu"))
    assert again.windows.values.keys() == trained.windows.values.keys()
    for (tap, name), value_W in trained.windows.values.items():
        np.testing.assert_array_equal(again.normal_values(tap, name), value_W)


def test_a_bundle_that_knows_no_windows_says_so(trained: Bundle, tmp_path: Path) -> None:
    save_bundle(tmp_path, trained)
    (tmp_path / "windows.safetensors").unlink()
    assert load_bundle(tmp_path, torch.device("cpu")).normal_values("last", "spatial") is None
    assert trained.normal_values("last", "audio") is None


@pytest.mark.parametrize("videos", [1, 2])
def test_a_training_of_few_videos_has_windows_too(videos: int) -> None:
    bundle = train(make_training(videos), small_settings(epochs=0.1), silent)
    value_W = bundle.normal_values("last", "temporal")
    assert value_W is not None
    assert np.isfinite(value_W).all()
