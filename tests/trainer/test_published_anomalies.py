"""Pseudo-anomalies of STEAL-Net and LNTRA: skipped frames, foreign patches, and what must not be reconstructed."""

from typing import Any

import numpy as np
import pytest
import torch
from squares import MadeInputs, make_street, silent, small_settings

from pipeline.config import CLIP_FRAMES
from trainer.clips import TrainingData, load_training_data
from trainer.pseudo_anomalies import PseudoAnomaly, make_pseudo_anomalies
from trainer.published_anomalies import soft_rectangle, walk


def load(*lengths: int, **changes: Any) -> TrainingData:
    streets = [make_street(f"s{place}", frames=length, seed=place, **changes) for place, length in enumerate(lengths)]
    return load_training_data(MadeInputs(streets), small_settings(p_s=0, p_t=0), torch.device("cpu"), silent)


def make(kind: str) -> tuple[PseudoAnomaly, PseudoAnomaly]:
    return make_pseudo_anomalies(small_settings(spatial_pa=kind, temporal_pa=kind))


@pytest.mark.parametrize("kind", ["skip", "steal"])
def test_skipped_frames_are_every_second_to_fifth_of_one_video(kind: str) -> None:
    data = load(100, 100, masked=False)
    spatial, _ = make(kind)
    steps = set()
    for seed in range(40):
        clip = spatial(data, 3, np.random.default_rng(seed))
        assert clip is not None
        found = [step for step in range(1, 7) if torch.equal(clip, data.frames_NHWC[3 : 3 + 15 * step + 1 : step])]
        assert len(found) == 1
        steps.add(found[0])
    assert steps == {2, 3, 4, 5}


def test_skipping_never_leaves_the_video_and_too_short_ones_stay_normal() -> None:
    data = load(50, 40)
    for make_clip in make("skip"):
        for seed in range(20):
            assert make_clip(data, 20, np.random.default_rng(seed)) is None  # 30 frames are left, 31 needed
    spatial, temporal = make("skip")
    for seed in range(20):
        clip = spatial(data, 4, np.random.default_rng(seed))
        assert clip is not None
        assert any(torch.equal(clip, data.frames_NHWC[4 : 5 + 15 * step : step]) for step in (2, 3))
        assert spatial(data, 59, np.random.default_rng(seed)) is not None
        assert spatial(data, 60, np.random.default_rng(seed)) is None
        assert temporal(data, 0, np.random.default_rng(seed)) is not None


def test_motion_of_skipped_frames_is_the_sum_of_what_was_skipped() -> None:
    data = load(100)
    clip = make("skip")[1](data, 10, np.random.default_rng(0))
    assert clip is not None
    frames = make("skip")[0](data, 10, np.random.default_rng(0))
    assert frames is not None
    step = next(step for step in (2, 3, 4, 5) if torch.equal(frames, data.frames_NHWC[10 : 11 + 15 * step : step]))
    flow = data.flow_NHW2.float()
    for element in range(1, CLIP_FRAMES):
        last = 10 + element * step
        torch.testing.assert_close(clip[element], flow[last - step + 1 : last + 1].sum(0))
    torch.testing.assert_close(clip[0], step * flow[10])


def test_what_steal_shows_is_not_to_be_returned_and_all_others_are() -> None:
    for kind, sign in {"steal": -1.0, "skip": 1.0, "patch": 1.0, "inpainting": 1.0}.items():
        spatial, _ = make_pseudo_anomalies(small_settings(spatial_pa=kind))
        assert getattr(spatial, "loss_sign", 1.0) == sign


@pytest.mark.parametrize("network", [0, 1])
def test_a_foreign_patch_changes_a_rectangle_of_every_frame_and_leaves_the_data_alone(network: int) -> None:
    data = load(40, 40)
    sequence = (data.frames_NHWC, data.flow_NHW2)[network]
    before = sequence.clone()
    for seed in range(20):
        clip = make("patch")[network](data, 2, np.random.default_rng(seed))
        assert clip is not None
        assert clip.dtype == (torch.uint8, torch.float32)[network]
        changed_THW = (clip.float() != sequence[2 : 2 + CLIP_FRAMES].float()).any(-1)
        for changed_HW in changed_THW:
            pixel_N2 = changed_HW.nonzero()
            if len(pixel_N2):  # the same ground at the same place changes nothing
                height, width = (pixel_N2.amax(0) - pixel_N2.amin(0) + 1).tolist()
                assert height <= data.size[0] / 2 + 1
                assert width <= data.size[1] / 2 + 1
        assert changed_THW.any((1, 2)).sum() > CLIP_FRAMES / 2
    assert torch.equal(sequence, before)


def test_a_patch_walks_in_small_steps_and_stays_inside() -> None:
    for seed in range(20):
        places = np.array(walk((256, 320), (100, 40), np.random.default_rng(seed)))
        assert places.shape == (CLIP_FRAMES, 2)
        assert places.min() >= 0
        assert (places.max(0) <= (156, 280)).all()
        assert np.abs(np.diff(places, axis=0)).max() <= 10
        assert np.ptp(places, axis=0).max() > 0


def test_the_border_of_a_patch_is_soft_and_its_middle_is_not() -> None:
    weight = soft_rectangle(40, 20)
    assert weight[20, 10] == 1
    assert 0 < weight[0, 10] < 0.3
    assert 0 < weight[20, 0] < 0.4
    assert torch.equal(weight, weight.flip(0).flip(1))


@pytest.mark.parametrize("kind", ["skip", "patch"])
def test_the_same_random_state_gives_the_same_clip(kind: str) -> None:
    data = load(80)
    for make_clip in make(kind):
        first, second = (make_clip(data, 3, np.random.default_rng(5)) for _ in range(2))
        assert first is not None
        assert second is not None
        assert torch.equal(first, second)
