"""The motion network: marks of cells of frames, in the same form as errors of autoencoders; a whole training with it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import squares
import torch
import torch.nn.functional as F
from squares import HEIGHT, WIDTH, MadeInputs, make_street, make_training, silent, small_settings

from pipeline.config import TrainSettings
from pipeline.contract import Aside, DataError
from trainer.bundle import Bundle, BundleError, load_bundle, save_bundle
from trainer.calibration import settings_of
from trainer.indicators import TAPS
from trainer.normalise import smooth_flow
from trainer.segmenter import make_segmenter
from trainer.together import load_for
from trainer.training import fit_networks, train

CPU = torch.device("cpu")


def settings(**changes: object) -> TrainSettings:
    chosen = {"motion_epochs": 6.0, "learning_rate": 3e-3, "schedule": "cosine", "skips": (2, 3), "objects": False}
    return small_settings(**(chosen | {"discriminator_epochs": 0, "epochs": 1.0} | changes))


@pytest.fixture(scope="module")
def with_motion() -> Bundle:
    return train(make_training(), settings(), silent)


def test_there_is_a_logit_for_each_cell_of_each_frame() -> None:
    network = make_segmenter(width=0.1, place=True, skips=(2, 3), seed=0, device=CPU).eval()
    clip = torch.randn(2, 2, 16, 32, 48)
    logits = network(clip)
    assert logits.shape == (2, 16, 8, 12)
    torch.testing.assert_close(network.error_maps(clip, 4, [8, 15]), F.softplus(logits[:, [8, 15]]))
    assert network.error_maps(clip, 4).shape == (2, 16, 8, 12)
    assert network.error_maps(clip, 2, [8]).shape == (2, 1, 16, 24)
    assert network(clip[:, :, :8]).shape == (2, 8, 8, 12)


def test_a_change_of_one_frame_moves_the_marks_of_that_frame_most() -> None:
    network = make_segmenter(width=0.1, place=False, skips=(2, 3), seed=0, device=CPU).eval()
    clip = torch.zeros(1, 2, 16, 32, 48)
    changed = clip.clone()
    changed[:, :, 6] = 1
    with torch.no_grad():
        moved = (network(changed) - network(clip)).abs().mean((0, 2, 3))
    assert int(moved.argmax()) in (5, 6, 7)


def test_fast_motion_is_marked_where_it_is(with_motion: Bundle) -> None:
    fast = make_street("fast", frames=40, seed=9, speed=lambda frame: 1.0 if frame < 20 else 3.0)
    found = with_motion.measure(fast.arrays["frames", "frames"], fast.arrays["flows", "flow"]).taps["last"]
    assert found.maps["motion"].shape == found.maps["temporal"].shape == (40, HEIGHT // 4, WIDTH // 4)
    value = found.values["motion"]
    assert np.median(value[26:]) > 3 * np.median(value[4:18])
    row = np.argmax(found.maps["motion"][28:].astype(np.float64).max(2).mean(0))
    assert row in (3, 4)  # the square covers rows 12 to 20


def test_pseudo_anomalies_say_what_it_is_worth(with_motion: Bundle) -> None:
    assert with_motion.indicators == ("spatial", "temporal", "motion")
    for tap in TAPS:
        assert with_motion.calibration.separation[tap, "motion"] > 0.8
        assert with_motion.normal_values(tap, "motion") is not None
        assert with_motion.normal_values(tap, "motion_peak") is not None


def test_a_stored_bundle_measures_the_same_and_names_a_missing_motion_network(
    with_motion: Bundle, tmp_path: Path
) -> None:
    save_bundle(tmp_path, with_motion)
    street = make_street("test", frames=24, seed=5)
    video = street.arrays["frames", "frames"], street.arrays["flows", "flow"]
    before, after = with_motion.measure(*video), load_bundle(tmp_path, CPU).measure(*video)
    for tap, found in before.taps.items():
        np.testing.assert_array_equal(after.taps[tap].values["motion"], found.values["motion"])
        np.testing.assert_array_equal(after.taps[tap].maps["motion"], found.maps["motion"])
    (tmp_path / "motion.safetensors").unlink()
    with pytest.raises(BundleError, match=r"motion\.safetensors"):
        load_bundle(tmp_path, CPU)


def test_densely_scored_frames_have_marks_too(with_motion: Bundle) -> None:
    fast = make_street("fast", frames=40, seed=9, speed=lambda frame: 1.0 if frame < 20 else 3.0)
    video = fast.arrays["frames", "frames"], fast.arrays["flows", "flow"]
    exact = with_motion.measure(*video).taps["centre"].values["motion"]
    dense = with_motion.measure(*video, phases=1).taps["centre"].values["motion"]
    assert np.corrcoef(np.log(exact), np.log(dense))[0, 1] > 0.8


def test_a_stopped_training_of_it_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    chosen = settings(motion_epochs=1.5, epochs=0.2, checkpoint_steps=3)
    inputs = make_training(2)
    whole = fit_networks(inputs, chosen, silent)
    aside = Aside(scratch=tmp_path, logs=tmp_path / "logs")
    stopped = _Stop(after=8)
    with pytest.raises(KeyboardInterrupt):
        fit_networks(inputs, chosen, stopped, aside)
    again = fit_networks(inputs, chosen, silent, aside)
    assert whole is not None
    assert again is not None
    first, second = (found.fitted.fits["motion"].network.state_dict() for found in (whole, again))
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


class _Stop:
    """Raises once the motion network has taken some steps."""

    def __init__(self, after: int) -> None:
        self._after = after

    def __call__(self, what: str, done: float, total: float) -> None:
        if what.startswith("motion network") and done >= self._after * 4:
            raise KeyboardInterrupt


def test_its_own_size_and_epochs_are_no_ones_else() -> None:
    chosen = settings(reduce=2, motion_reduce=1, motion_epochs=2.0, epochs=5.0, flow_sigma=0.1)
    own = settings_of("motion", chosen)
    assert (own.reduce, own.epochs, own.flow_sigma) == (1, 2.0, 0.0)
    assert settings_of("temporal", chosen) is chosen


def test_it_may_see_more_than_the_autoencoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squares, "WIDTH", 64)  # half of it is a multiple of 16, too
    bundle = train(make_training(2), settings(reduce=2, motion_reduce=1, motion_epochs=0.5, epochs=0.5), silent)
    street = make_street("test", frames=24, seed=5)
    found = bundle.measure(street.arrays["frames", "frames"], street.arrays["flows", "flow"]).taps["last"]
    assert found.maps["motion"].shape == found.maps["temporal"].shape == (24, HEIGHT // 4, 64 // 4)
    assert (bundle.info.height, bundle.info.width) == (HEIGHT, 64)


def test_it_sees_legs_where_the_temporal_autoencoder_sees_bodies() -> None:
    inputs, chosen = make_training(2), settings(flow_sigma=0.1)
    loaded = load_for((CPU,), inputs, chosen, silent)
    sharp, smooth = (loaded[name][0].flow_NHW2[:] for name in ("motion", "temporal"))
    torch.testing.assert_close(smooth, smooth_flow(sharp, 0.1))
    assert not torch.equal(smooth, sharp)
    assert loaded["spatial"][0] is loaded["temporal"][0]
    assert loaded["motion"][0].flow_scale == loaded["temporal"][0].flow_scale


def test_scoring_smooths_flow_as_training_does() -> None:
    chosen = settings(flow_sigma=0.1, motion_epochs=0.5, epochs=0.5)
    bundle = train(make_training(2), chosen, silent)
    unsmoothed = replace(bundle, info=replace(bundle.info, settings=chosen.model_copy(update={"flow_sigma": 0.0})))
    street = make_street("test", frames=24, seed=5)
    frames, flow = street.arrays["frames", "frames"], street.arrays["flows", "flow"]
    smooth = smooth_flow(torch.from_numpy(flow).permute(0, 2, 3, 1), 0.1).permute(0, 3, 1, 2).numpy()
    found, expected = bundle.measure(frames, flow).taps["last"], unsmoothed.measure(frames, smooth).taps["last"]
    np.testing.assert_array_equal(found.values["temporal"], expected.values["temporal"])
    plain = unsmoothed.measure(frames, flow).taps["last"]
    np.testing.assert_array_equal(found.values["motion"], plain.values["motion"])
    assert not np.array_equal(found.values["temporal"], plain.values["temporal"])


def test_without_it_nothing_depends_on_it() -> None:
    plain = small_settings().determining()
    assert not [name for name in plain if name.startswith("motion") or name == "flow_sigma"]
    assert "flow_sigma" in small_settings(flow_sigma=0.1).determining()
    assert {"motion_epochs", "motion_reduce"} <= set(settings().determining())


def test_masks_are_needed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training frame has a mask"):
        train(MadeInputs([make_street("bare", masked=False)]), settings(p_s=0.0, p_t=0.0), silent)
