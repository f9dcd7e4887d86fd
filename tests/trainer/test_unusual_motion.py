"""What the motion network is shown: unusual bodies are marked, normal ones that were put in are not."""

import numpy as np
import pytest
import torch
from squares import MadeInputs, make_street, make_training, silent, small_settings
from torch import Tensor

from pipeline.config import CLIP_FRAMES
from trainer import unusual_motion
from trainer.clips import TrainingData, load_training_data
from trainer.marks import MotionSignal, cells
from trainer.together import make_signals
from trainer.unusual_motion import UnusualMotion, stiff, unusual


def load(inputs: MadeInputs) -> TrainingData:
    return load_training_data(inputs, small_settings(p_s=0.0, p_t=0.0), torch.device("cpu"), silent)


def marked(data: TrainingData, start: int, seed: int) -> tuple[Tensor, Tensor]:
    return UnusualMotion(small_settings()).marked(data, start, np.random.default_rng(seed))


def signal(data: TrainingData) -> MotionSignal:
    found = make_signals(data, small_settings())["motion"]
    assert isinstance(found, MotionSignal)
    return found


def test_what_is_marked_differs_from_all_normal_motion_at_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unusual_motion, "STILL", 0.0)
    monkeypatch.setattr(unusual_motion, "TWO_MOMENTS", 0.0)
    monkeypatch.setattr(unusual_motion, "NORMAL_BODY", 0.0)
    data = load(make_training(3))
    for start in range(0, 25, 5):
        clip, mark = marked(data, start, start)
        assert clip.shape == (CLIP_FRAMES, *data.size, 2)
        assert mark.shape == clip.shape[:3]
        changed = (clip - data.flow_NHW2[start : start + CLIP_FRAMES].float()).abs().amax(-1) > 0
        assert mark.any()
        assert not (mark & ~changed).any()


def test_a_body_that_moves_as_it_did_is_put_in_without_a_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unusual_motion, "STILL", 0.0)
    monkeypatch.setattr(unusual_motion, "TWO_MOMENTS", 0.0)
    monkeypatch.setattr(unusual_motion, "NORMAL_BODY", 1.0)
    empty = make_street("empty", frames=CLIP_FRAMES, masked=False, speed=lambda frame: 0.0)
    data = load(MadeInputs([empty, make_street("busy", frames=CLIP_FRAMES, seed=1)]))
    object.__setattr__(data, "start_C", np.array([CLIP_FRAMES]))
    seen = []
    for seed in range(5):
        clip, mark = marked(data, 0, seed)
        assert not mark.any()
        seen.append(float((clip.norm(dim=-1) > 0.4).float().mean()))
    assert max(seen) > 0.02  # the square is there


def test_two_moments_show_the_faster_motion_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unusual_motion, "STILL", 0.0)
    monkeypatch.setattr(unusual_motion, "TWO_MOMENTS", 1.0)
    monkeypatch.setattr(unusual_motion, "NORMAL_BODY", 1.0)
    monkeypatch.setattr(unusual_motion, "PACE", (1.0, 1.0))
    slow = make_street("slow", frames=CLIP_FRAMES, masked=False, speed=lambda frame: 0.0)
    data = load(MadeInputs([slow, make_street("busy", frames=CLIP_FRAMES, masked=False, seed=1)]))
    object.__setattr__(data, "start_C", np.array([CLIP_FRAMES]))
    clip, mark = marked(data, 0, 0)
    both = torch.stack([data.flow_NHW2[:CLIP_FRAMES].float(), data.flow_NHW2[CLIP_FRAMES:].float()])
    torch.testing.assert_close(clip.norm(dim=-1), both.norm(dim=-1).amax(0))
    assert not mark.any()


def test_a_clip_may_begin_with_a_picture_that_stands_still_and_its_marks_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(make_training(3))
    monkeypatch.setattr(unusual_motion, "STILL", 0.0)
    moving = marked(data, 3, 5)
    monkeypatch.setattr(unusual_motion, "STILL", 1.0)
    found = marked(data, 3, 5)
    first = [torch.equal(*frames) for frames in zip(found[0], moving[0], strict=True)].index(True)
    assert 0 < first < CLIP_FRAMES  # the scored frame is never one of those that stand still
    for still, whole in zip(found, moving, strict=True):
        assert torch.equal(still[first:], whole[first:])
        assert all(torch.equal(still[frame], whole[first]) for frame in range(first))


def test_the_same_random_state_gives_the_same_clip_and_the_stored_flow_stays_as_it_was() -> None:
    data = load(make_training(2))
    before = data.flow_NHW2.clone()
    (first, first_mark), (second, second_mark) = (marked(data, 3, 5) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(first_mark, second_mark)
    assert torch.equal(data.flow_NHW2, before)


def test_a_stiff_body_keeps_its_vector_and_is_only_somewhat_uneven() -> None:
    mask = torch.ones(16, 9, 6, dtype=torch.bool)
    vector = torch.tensor([2.0, -1.0])
    for seed in range(10):
        body = stiff(vector, mask, np.random.default_rng(seed))
        assert body.shape == (16, 9, 6, 2)
        assert body.dtype == torch.float32
        torch.testing.assert_close(body.mean((0, 1, 2)), vector, rtol=0.25, atol=0.5)
        assert 0 < (body - body.mean((1, 2), keepdim=True)).norm(dim=-1).mean() < 0.6 * vector.norm()


def test_unusual_motion_is_of_every_kind() -> None:
    own = torch.from_numpy(np.random.default_rng(0).normal(2, 0.3, (5, 6, 7, 2))).float()
    mask = torch.ones(5, 6, 7, dtype=torch.bool)
    faster = turned = slow = 0
    for seed in range(80):
        body = unusual(own, mask, np.random.default_rng(seed))
        assert torch.isfinite(body).all()
        pace = float(body.mean((0, 1, 2)).norm() / own.mean((0, 1, 2)).norm())
        cosine = float((body * own).sum() / (body.norm() * own.norm()))
        faster, turned, slow = faster + (pace > 1.8), turned + (cosine < 0.6), slow + (0.8 < pace < 1.8 and cosine > 0.8)
        assert pace < 5
    assert min(faster, turned, slow) >= 8, (faster, turned, slow)


def test_a_batch_marks_cells_that_are_covered_enough() -> None:
    mark = torch.zeros(16, 16, 16, dtype=torch.bool)
    mark[3, 4:8, 4:6] = True  # half of a cell
    mark[3, 8:12, 8:9] = True  # a quarter of one
    found = cells(mark)
    assert found.shape == (16, 4, 4)
    assert found.nonzero().tolist() == [[3, 1, 1]]


def test_a_batch_without_unusual_motion_is_the_normal_clip_without_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unusual_motion, "STILL", 0.0)
    monkeypatch.setattr(unusual_motion, "TWO_MOMENTS", 0.0)
    data = load(make_training(2))
    plain = signal(data)
    object.__setattr__(plain, "probability", 0.0)
    batch = plain.batch(data, np.array([0, 7]), np.random.default_rng(0))
    torch.testing.assert_close(batch.shown_BCTHW, plain.target(np.array([0, 7])))
    assert batch.target_BCTHW.shape == (2, 1, 16, data.size[0] // 4, data.size[1] // 4)
    assert not batch.target_BCTHW.any()
    assert type(batch.rows(slice(0, 1))) is type(batch)


def test_normal_clips_are_two_moments_and_begin_still_as_those_with_bodies_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unusual_motion, "STILL", 1.0)
    monkeypatch.setattr(unusual_motion, "TWO_MOMENTS", 1.0)
    data = load(make_training(2))
    seen, faster = set(), 0
    for seed in range(8):
        clip = UnusualMotion(small_settings()).normal(data, 7, np.random.default_rng(seed))
        still = int((clip == clip[0]).flatten(1).all(1).sum())
        assert still >= 2  # what stands still, and the frame that it repeats
        own = data.flow_NHW2[7 + still : 7 + CLIP_FRAMES].float()
        assert (clip[still:].norm(dim=-1) >= own.norm(dim=-1)).all()
        faster += int((clip[still:].norm(dim=-1) > own.norm(dim=-1)).sum())
        seen.add(still)
    assert len(seen) > 3
    assert faster > 0  # where the other moment was


def test_frames_that_count_as_changed_are_those_with_marks() -> None:
    data = load(make_training(3))
    _, mark = marked(data, 4, 9)
    changed = signal(data).changed_frames(data, 4, np.random.default_rng(9))
    np.testing.assert_array_equal(changed, cells(mark).flatten(1).any(1).numpy())
