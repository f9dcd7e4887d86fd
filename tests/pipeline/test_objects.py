"""What is not the empty scene is an object, with its place, size and motion; what is only light or compression is none."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.models.foreground import Background, changed_share, foreground, learn_background, merge_backgrounds
from pipeline.models.objects import Objects, find_objects

HEIGHT, WIDTH = 64, 96


def scene(seed: int = 0) -> NDArray[np.uint8]:
    """Return a textured ground, (H, W, 3)."""
    return np.random.default_rng(seed).integers(90, 130, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def noisy(picture_HWC: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, 1, picture_HWC.shape)
    return np.clip(np.rint(picture_HWC + noise), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def background() -> Background:
    return learn_background(np.stack([noisy(scene(), seed) for seed in range(40)]))


def with_boxes(*boxes: tuple[int, int, int, int], seed: int = 99) -> NDArray[np.uint8]:
    """Return a frame with white boxes: left, top, width, height."""
    picture = noisy(scene(), seed)
    for left, top, width, height in boxes:
        picture[top : top + height, left : left + width] = 250
    return picture


def found_in(frames: list[NDArray[np.uint8]], flow: NDArray[np.float32], background: Background) -> Objects:
    return find_objects(np.stack(frames), flow, background, 0.002)


def no_motion(frames: int = 1) -> NDArray[np.float32]:
    return np.zeros((frames, 2, HEIGHT, WIDTH), np.float32)


def test_objects_are_found_where_they_are_in_the_order_of_frames(background: Background) -> None:
    frames = [with_boxes((20, 30, 8, 16)), with_boxes(), with_boxes((60, 10, 10, 6), (30, 40, 6, 14))]
    found = found_in(frames, no_motion(3), background)
    assert found.frame_N.tolist() == [0, 2, 2]
    boxes = sorted(zip(found.frame_N.tolist(), found.box_N4.tolist(), strict=True))
    for (_, box), expected in zip(boxes, [(20, 30, 8, 16), (30, 40, 6, 14), (60, 10, 10, 6)], strict=True):
        assert np.abs(np.subtract(box, expected)).max() <= 2  # the rim is soft
    assert np.abs(found.area_N - [8 * 16, *sorted([60, 84])]).max() <= 40


def test_motion_is_that_within_the_object_and_spread_tells_limbs_from_wheels(background: Background) -> None:
    flow = no_motion()
    flow[0, 0, 24:52, 14:34] = 2.0
    flow[0, 1, 24:52, 14:34] = np.where(np.arange(20) % 2, 1.0, -1.0)  # half of its columns up, half down
    (motion,) = found_in([with_boxes((20, 30, 8, 16))], flow, background).motion_N4
    np.testing.assert_allclose(motion, [2, 0, 0, 1], atol=0.15)


def test_what_the_left_right_and_lower_border_cut_off_is_not_whole(background: Background) -> None:
    frame = with_boxes((0, 10, 8, 16), (88, 10, 8, 16), (40, 50, 8, 14), (40, 20, 8, 16))
    found = found_in([frame], no_motion(), background)
    whole = {(int(box[0]) + 2) // 8 * 8: bool(flag) for box, flag in zip(found.box_N4, found.whole_N, strict=True)}
    assert len(found) == 4
    assert sorted(found.whole_N.tolist()) == [False, False, False, True]
    assert whole[0] is False


def test_specks_below_the_least_area_are_no_objects(background: Background) -> None:
    frame = with_boxes((20, 30, 8, 16), (70, 40, 1, 1))
    assert len(found_in([frame], no_motion(), background)) == 1


@pytest.mark.parametrize("shift", [(20, -20), (-20, 20)])
def test_colour_that_shifts_over_half_of_the_frame_is_no_object(background: Background, shift: tuple[int, int]) -> None:
    frame = with_boxes((20, 30, 8, 16)).astype(np.int16)
    frame[:, WIDTH // 2 :, [0, 2]] += np.array(shift, np.int16)  # red against blue: brightness hardly changes
    frame = np.clip(frame, 0, 255).astype(np.uint8)
    assert foreground(frame, background)[:, WIDTH // 2 + 8 :].mean() < 0.01
    assert len(found_in([frame], no_motion(), background)) == 1


def test_an_empty_frame_of_brighter_light_has_no_objects(background: Background) -> None:
    brighter = np.clip(noisy(scene(), 5) * 1.15, 0, 255).astype(np.uint8)
    assert len(found_in([brighter], no_motion(), background)) == 0


def test_one_wrong_background_of_three_is_outvoted() -> None:
    right = [learn_background(np.stack([noisy(scene(), seed + 40 * n) for seed in range(40)])) for n in range(2)]
    stood = scene()
    stood[20:50, 30:50] = 250  # somebody stood there throughout one video
    wrong = learn_background(np.stack([noisy(stood, seed) for seed in range(40)]))
    assert changed_share(merge_backgrounds([wrong, *right]), right[0]) < 0.01
    assert changed_share(wrong, right[0]) > 0.05


def test_another_view_differs_in_most_of_the_frame(background: Background) -> None:
    blocks = np.random.default_rng(1).integers(30, 220, (HEIGHT // 8, WIDTH // 8, 3)).astype(np.uint8)
    other = np.kron(blocks, np.ones((8, 8, 1), np.uint8))
    elsewhere = learn_background(np.stack([noisy(other, seed) for seed in range(40)]))
    assert changed_share(elsewhere, background) > 0.5


def test_stretches_join_to_the_objects_of_one(background: Background) -> None:
    frames = [with_boxes((20 + 4 * i, 30, 8, 16)) for i in range(4)]
    whole = found_in(frames, no_motion(4), background)
    parts = [found_in(frames[:2], no_motion(2), background), found_in(frames[2:], no_motion(2), background).later(2)]
    joined = Objects.join(parts)
    for name, values in vars(whole).items():
        np.testing.assert_array_equal(getattr(joined, name), values)
