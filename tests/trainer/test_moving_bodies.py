"""Moving bodies: larger than walkers, of one piece, faster or astray, several in a clip, and on ground that was empty."""

import numpy as np
import pytest
import torch
from squares import SIDE, MadeInputs, make_street, make_training, silent, small_settings

from pipeline.config import CLIP_FRAMES
from trainer.clips import TrainingData, load_training_data
from trainer.pseudo_anomalies import MovingBodies, make_pseudo_anomalies, soft_mask


def load(inputs: MadeInputs) -> TrainingData:
    return load_training_data(inputs, small_settings(), torch.device("cpu"), silent)


def bodies() -> MovingBodies:
    _, make = make_pseudo_anomalies(small_settings(temporal_pa="bodies"))
    assert isinstance(make, MovingBodies)
    return make


def test_bodies_differ_from_the_normal_clip_and_leave_the_stored_flow_alone() -> None:
    data = load(make_training(3))
    before = data.flow_NHW2.clone()
    for start in range(0, 25, 5):
        clip = bodies()(data, start, np.random.default_rng(start))
        assert clip is not None
        assert clip.shape == (CLIP_FRAMES, *data.size, 2)
        assert (clip - data.flow_NHW2[start : start + CLIP_FRAMES].float()).norm(dim=-1).max() > 0.2
    assert torch.equal(data.flow_NHW2, before)


def test_the_same_random_state_gives_the_same_bodies() -> None:
    data = load(make_training(2))
    first, second = (bodies()(data, 3, np.random.default_rng(5)) for _ in range(2))
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)


def test_bodies_of_other_clips_appear_where_the_clip_itself_shows_ground() -> None:
    empty = make_street("empty", frames=CLIP_FRAMES, masked=False, speed=lambda frame: 0.0)
    busy = make_street("busy", frames=CLIP_FRAMES, seed=1)
    data = load(MadeInputs([empty, busy]))
    object.__setattr__(data, "start_C", np.array([CLIP_FRAMES]))
    ground = data.flow_NHW2[:CLIP_FRAMES].float().norm(dim=-1)
    clip = next(clip for seed in range(20) if (clip := bodies()(data, 0, np.random.default_rng(seed))) is not None)
    assert ground.max() < 0.3  # noise
    moving = (clip.norm(dim=-1) > 0.4).sum((1, 2))
    assert (moving > SIDE * SIDE / 2).float().mean() > 0.7


def test_a_body_is_rigid_or_has_its_own_motion_faster_or_turned() -> None:
    own_Khw2 = torch.from_numpy(np.random.default_rng(0).normal(2, 0.3, (5, 6, 7, 2))).float()
    mask_Khw = torch.ones(5, 6, 7, dtype=torch.bool)
    kinds = {"rigid": 0, "faster": 0, "turned": 0}
    for seed in range(60):
        body = bodies().body(own_Khw2, mask_Khw, np.random.default_rng(seed))
        ratio = float(body.norm() / own_Khw2.norm())
        if (body == body[:, :1, :1]).all():
            kinds["rigid"] += 1
        elif torch.allclose(body, own_Khw2 * ratio, atol=1e-4):
            assert 1.3 - 1e-4 <= ratio <= 4 + 1e-4
            kinds["faster"] += 1
        else:
            assert 0.7 - 1e-4 <= ratio <= 1.5 + 1e-4
            cosine = float((body * own_Khw2).sum() / (body.norm() * own_Khw2.norm()))
            assert cosine <= 0.5 + 1e-4
            kinds["turned"] += 1
    assert all(count >= 6 for count in kinds.values()), kinds


@pytest.mark.parametrize("grown", [0, 2])
def test_a_soft_mask_is_whole_inside_and_nothing_beyond_its_growth(grown: int) -> None:
    mask_KHW = torch.zeros(1, 20, 20, dtype=torch.bool)
    mask_KHW[0, 8:12, 8:12] = True
    weight_HW = soft_mask(mask_KHW, grown)[0]
    assert torch.allclose(weight_HW[9 - grown : 11 + grown, 9 - grown : 11 + grown], torch.ones(()))
    far_HW = torch.ones(20, 20, dtype=torch.bool)
    far_HW[7 - grown : 13 + grown, 7 - grown : 13 + grown] = False
    assert weight_HW[far_HW].max() == 0
    assert 0 < weight_HW[7 - grown, 10] < 1


def test_where_no_clip_holds_an_object_the_clip_stays_normal() -> None:
    data = load(make_training(1))
    object.__setattr__(data, "object_N", np.full_like(data.object_N, -1))
    assert bodies()(data, 0, np.random.default_rng(0)) is None
