"""The training split in memory: aligned, complete, and refused early where it cannot do."""

from typing import Any

import numpy as np
import pytest
import torch
from squares import HEIGHT, WIDTH, MadeInputs, make_street, make_training, silent, small_settings

import trainer.clips
from pipeline.config import CLIP_FRAMES, ConfigError
from pipeline.contract import DataError
from trainer.clips import TrainingData, estimate_flow_scale, load_training_data
from trainer.order import ClipOrder
from trainer.seeds import Seed

CPU = torch.device("cpu")


def load(inputs: MadeInputs, **changes: Any) -> TrainingData:
    return load_training_data(inputs, small_settings(**changes), CPU, silent)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 50])
def test_every_clip_comes_exactly_once_per_epoch_and_each_epoch_has_its_own_order(batch_size: int) -> None:
    start_C = np.array([0, 1, 2, 3, 10, 11, 12, 13, 14])
    order = ClipOrder(start_C, batch_size, Seed(0))
    drawn = np.concatenate([order(step) for step in range(-(-3 * len(start_C) // batch_size))])
    epochs = drawn[: 3 * len(start_C)].reshape(3, -1)
    for epoch in epochs:
        assert sorted(epoch) == list(start_C)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_order_can_be_taken_up_at_any_step() -> None:
    start_C = np.arange(23)
    order = ClipOrder(start_C, 4, Seed(1))
    steps = [order(step) for step in range(20)]
    np.testing.assert_array_equal(ClipOrder(start_C, 4, Seed(1))(17), steps[17])
    assert not np.array_equal(ClipOrder(start_C, 4, Seed(2))(17), steps[17])


def test_clips_start_at_every_frame_and_never_run_from_one_video_into_the_next() -> None:
    lengths = (CLIP_FRAMES, 20, 33)
    data = load(MadeInputs([make_street(f"v{n}", frames=n, seed=n) for n in lengths]))
    expected = [0, *range(16, 16 + 5), *range(36, 36 + 18)]
    assert data.start_C.tolist() == expected


def test_flow_moves_inside_the_mask_that_belongs_to_it() -> None:
    data = load(make_training(2))
    magnitude_NHW = data.flow_NHW2.float().norm(dim=-1)
    mask_NHW = data.mask_NHW[torch.from_numpy(data.origin_N)]
    assert magnitude_NHW[mask_NHW].min() > 0.8
    assert magnitude_NHW[~mask_NHW].max() < 0.2


def test_centres_are_those_of_the_masks() -> None:
    data = load(make_training(1))
    rows, columns = np.nonzero(data.mask_NHW[7].numpy())
    np.testing.assert_allclose(data.centre_N2[7], [rows.mean(), columns.mean()])


@pytest.mark.parametrize(("colour", "channels"), [("grey", 1), ("rgb", 3)])
def test_frames_and_inpainted_images_have_the_channels_that_the_autoencoder_sees(colour: str, channels: int) -> None:
    data = load(make_training(1), colour=colour)
    assert data.frames_NHWC.shape == data.image_NHWC.shape == (40, HEIGHT, WIDTH, channels)


def test_the_flow_scale_is_twice_the_fastest_normal_motion_unless_it_is_set() -> None:
    assert load(make_training(1, speed=lambda frame: 2.0)).flow_scale == pytest.approx(4.0, rel=0.05)
    assert load(make_training(1), flow_scale=7.5).flow_scale == 7.5


def test_a_street_without_motion_does_not_turn_its_noise_into_motion() -> None:
    assert estimate_flow_scale(torch.zeros(20, 8, 8, 2, dtype=torch.float16)) == pytest.approx(0.1)


def test_a_video_shorter_than_a_clip_is_named() -> None:
    inputs = MadeInputs([make_street("long", frames=20), make_street("brief", frames=15, seed=1)])
    with pytest.raises(DataError, match=r"at least 16 frames .* too short: brief \(15\)"):
        load(inputs)


def test_no_training_video_is_an_error() -> None:
    with pytest.raises(DataError, match="expected at least one training video"):
        load(MadeInputs([]))


def test_without_any_mask_pseudo_anomalies_are_refused_and_plain_training_is_not() -> None:
    inputs = make_training(1, masked=False)
    with pytest.raises(DataError, match=r"no training frame has a mask.*masks\.source = random"):
        load(inputs)
    assert load(inputs, p_s=0, p_t=0).mask_NHW.any().item() is False


def test_data_larger_than_the_free_memory_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = 40 * HEIGHT * WIDTH * (1 + 1 + 4 + 1)
    monkeypatch.setattr(trainer.clips, "free_memory", lambda: needed)
    with pytest.raises(ConfigError, match=r"GiB may be used on cpu .* train\.data = stream, lower frames\.height"):
        load(make_training(1), data="memory")
    assert load(make_training(1)).streamed
    monkeypatch.setattr(trainer.clips, "free_memory", lambda: 2 * needed)
    assert len(load(make_training(1)).frames_NHWC) == 40
