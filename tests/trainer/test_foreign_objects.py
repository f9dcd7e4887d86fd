"""Foreign objects: things painted or turned over, which stay where they are or move stiffly, several in a clip."""

import numpy as np
import torch
from squares import make_training, silent, small_settings

from pipeline.config import CLIP_FRAMES
from trainer.clips import TrainingData, load_training_data
from trainer.pseudo_anomalies import ForeignObjects, blend, cut_out, make_pseudo_anomalies


def load() -> TrainingData:
    return load_training_data(make_training(3), small_settings(), torch.device("cpu"), silent)


def objects() -> ForeignObjects:
    make, _ = make_pseudo_anomalies(small_settings(spatial_pa="objects"))
    assert isinstance(make, ForeignObjects)
    return make


def test_a_few_things_change_a_small_part_of_the_clip_and_the_stored_frames_stay() -> None:
    data = load()
    before = data.frames_NHWC.clone()
    for start in range(0, 25, 5):
        clip = objects()(data, start, np.random.default_rng(start))
        assert clip is not None
        assert clip.dtype == torch.uint8
        changed_THW = (clip != data.frames_NHWC[start : start + CLIP_FRAMES]).any(-1)
        assert 0 < changed_THW.float().mean() < 0.5
    assert torch.equal(data.frames_NHWC, before)


def test_most_things_lie_still_for_the_whole_clip() -> None:
    data = load()
    still = 0
    for seed in range(30):
        make = objects()
        make.most = 1
        clip = make(data, 3, np.random.default_rng(seed))
        assert clip is not None
        changed_THW = (clip != data.frames_NHWC[3 : 3 + CLIP_FRAMES]).any(-1)
        still += bool(changed_THW.float().mean(0).max() > 0.9)  # some pixel shows the thing all the time
    assert still >= 15


def test_the_same_random_state_gives_the_same_things() -> None:
    data = load()
    first, second = (objects()(data, 3, np.random.default_rng(5)) for _ in range(2))
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)


def test_where_no_clip_holds_an_object_the_clip_stays_normal() -> None:
    data = load()
    object.__setattr__(data, "object_N", np.full_like(data.object_N, -1))
    assert objects()(data, 0, np.random.default_rng(0)) is None


def test_a_thing_cut_out_upright_is_what_the_mask_covers_and_turned_it_lies() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    mask = np.zeros((20, 30), bool)
    mask[4:14, 10:14] = True
    thing, cover = cut_out(picture, mask, angle=0.0, scale=1.0)
    pasted = np.zeros_like(picture)
    blend(pasted, thing, cover, np.array([9.0, 12.0]))
    found = np.argwhere(pasted.any(-1))
    assert np.ptp(found, axis=0).tolist() in ([9, 3], [10, 4])  # half a pixel of shift makes the edge soft
    _, lying = cut_out(picture, mask, angle=90.0, scale=1.0)
    rows, columns = np.nonzero(lying > 0.5)
    assert np.ptp(columns) > 2 * np.ptp(rows)


def test_what_reaches_beyond_the_picture_is_cut_off() -> None:
    picture = np.zeros((10, 12, 1), np.uint8)
    thing, cover = np.full((6, 6, 1), 200, np.float32), np.ones((6, 6), np.float32)
    for centre in ((0.0, 0.0), (10.0, 12.0), (-20.0, 5.0), (5.0, 40.0)):
        blend(picture, thing, cover, np.array(centre))
    assert picture[:3, :3].min() == 200
    assert picture[7:, 9:].min() == 200
    assert picture[4:6].max() == 0
