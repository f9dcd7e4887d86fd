"""A pseudo-anomaly changes one object and nothing else."""

from typing import Any

import numpy as np
import pytest
import torch
from squares import MadeInputs, make_street, make_training, silent, small_settings

from pipeline.config import CLIP_FRAMES, ConfigError
from trainer.clips import TrainingData, load_training_data
from trainer.pseudo_anomalies import Silhouette, make_pseudo_anomalies, mix

CPU = torch.device("cpu")


def load(inputs: MadeInputs, **changes: Any) -> TrainingData:
    return load_training_data(inputs, small_settings(**changes), CPU, silent)


def street_seen_in_part() -> MadeInputs:
    """Return a street whose object has a mask in frames 4 to 11 only."""
    street = make_street("part", frames=24)
    hidden = np.r_[0:4, 12:24]
    street.arrays["masks", "object"][hidden] = -1
    street.arrays["masks", "mask"][hidden] = False
    frames = street.arrays["frames", "frames"]
    street.arrays["inpaint", "image"][hidden] = frames[hidden]
    return MadeInputs([street])


def test_mix_blends_with_lam_inside_the_mask_and_keeps_everything_else() -> None:
    random = np.random.default_rng(0)
    own = torch.from_numpy(random.normal(size=(CLIP_FRAMES, 6, 7, 2)).astype(np.float32))
    other = torch.from_numpy(random.normal(size=(CLIP_FRAMES, 6, 7, 2)).astype(np.float32))
    before = own.clone()
    frame_K = np.array([2, 3, 9])
    mask_KHW = torch.from_numpy(random.random((3, 6, 7)) < 0.3)
    mixed = mix(own, other, Silhouette(frame_K=frame_K, mask_KHW=mask_KHW, centre_2=np.zeros(2)), 0.3)
    inside_THW = torch.zeros(CLIP_FRAMES, 6, 7, dtype=torch.bool)
    inside_THW[frame_K] = mask_KHW
    torch.testing.assert_close(mixed[inside_THW], 0.3 * own[inside_THW] + 0.7 * other[inside_THW])
    assert torch.equal(mixed[~inside_THW], own[~inside_THW])
    assert torch.equal(own, before)


@pytest.mark.parametrize("kind", ["mixup", "mixup-in-place", "motion"])
def test_motion_of_every_kind_changes_flow_inside_the_object_only(kind: str) -> None:
    data = load(make_training(3))
    before = data.flow_NHW2.clone()
    _, make = make_pseudo_anomalies(small_settings(temporal_pa=kind))
    changed = 0
    for start in range(0, 25, 5):
        window = slice(start, start + CLIP_FRAMES)
        clip = make(data, start, np.random.default_rng(start))
        assert clip is not None
        assert clip.shape == (CLIP_FRAMES, *data.size, 2)
        outside_THW = ~data.mask_NHW[torch.from_numpy(data.origin_N[window])]
        assert torch.equal(clip[outside_THW], data.flow_NHW2[window].float()[outside_THW])
        changed += not torch.equal(clip, data.flow_NHW2[window].float())
    assert changed >= 4
    assert torch.equal(data.flow_NHW2, before)


def test_mixup_uses_one_lam_for_the_whole_clip() -> None:
    other = make_street("other", frames=CLIP_FRAMES, seed=1, speed=lambda frame: -1.0, masked=False)
    own = make_street("own", frames=CLIP_FRAMES)
    data = load(MadeInputs([own, other]), temporal_pa="mixup-in-place")
    object.__setattr__(data, "start_C", np.array([CLIP_FRAMES]))  # so that the other clip is the one mixed in
    _, make = make_pseudo_anomalies(small_settings(temporal_pa="mixup-in-place"))
    clip = make(data, 0, np.random.default_rng(0))
    assert clip is not None
    own_THW2, other_THW2 = data.flow_NHW2[:CLIP_FRAMES].float(), data.flow_NHW2[CLIP_FRAMES:].float()
    apart = data.mask_NHW[torch.from_numpy(data.origin_N[:CLIP_FRAMES])] & ((own_THW2 - other_THW2)[..., 0].abs() > 0.5)
    lam_M = (clip - other_THW2)[apart][:, 0] / (own_THW2 - other_THW2)[apart][:, 0]
    assert len(lam_M) > 500
    assert 0 < lam_M[0] < 1
    assert lam_M.max() - lam_M.min() < 1e-3


def test_changed_motion_is_never_the_objects_own() -> None:
    data = load(make_training(1))
    _, make = make_pseudo_anomalies(small_settings(temporal_pa="motion"))
    own_THW2 = data.flow_NHW2[:CLIP_FRAMES].float()
    inside_THW = data.mask_NHW[torch.from_numpy(data.origin_N[:CLIP_FRAMES])]
    speeds = []
    for seed in range(60):
        clip = make(data, 0, np.random.default_rng(seed))
        assert clip is not None
        assert (clip - own_THW2)[inside_THW].norm(dim=-1).mean() > 0.1  # pixels per frame; its own motion is 1
        speeds.append(float(clip[inside_THW].norm(dim=-1).mean()))
    assert min(speeds) < 0.7
    assert max(speeds) > 3


def test_inpainting_replaces_the_frames_of_the_object_and_no_others() -> None:
    data = load(street_seen_in_part())
    before = data.frames_NHWC.clone()
    make, _ = make_pseudo_anomalies(small_settings())
    clip = make(data, 2, np.random.default_rng(0))
    assert clip is not None
    shown = np.arange(2, 2 + CLIP_FRAMES)
    of_object = (shown >= 4) & (shown < 12)
    assert torch.equal(clip[of_object], data.image_NHWC[4:12])
    assert not torch.equal(clip[of_object], data.frames_NHWC[4:12])
    assert torch.equal(clip[~of_object], data.frames_NHWC[shown[~of_object]])
    assert torch.equal(data.frames_NHWC, before)


@pytest.mark.parametrize("kind", ["mixup", "mixup-in-place", "motion"])
def test_a_clip_without_an_object_stays_normal(kind: str) -> None:
    data = load(street_seen_in_part())
    object.__setattr__(data, "object_N", np.full_like(data.object_N, -1))
    for make in make_pseudo_anomalies(small_settings(spatial_pa="inpainting", temporal_pa=kind)):
        assert make(data, 0, np.random.default_rng(0)) is None


def test_an_unknown_kind_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"train\.temporal_pa: expected one of .*mixup.*, found 'warp'"):
        make_pseudo_anomalies(small_settings(temporal_pa="warp"))
