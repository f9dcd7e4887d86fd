"""The density of objects: what is far from all of its neighbours is unusual, what is as far as they are is not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.models.objects import Objects
from trainer.objects import HIGHEST, MOST_OBJECTS, FrameObjects, Memory, UsualSize, describe, over_window, remember

HEIGHT = 100


def objects(
    *, frame: list[int] | None = None, left: float = 40, foot: float = 60, width: float = 10, speed: float = 1, n: int = 1
) -> Objects:
    """Return n objects alike, 20 pixels high."""
    box = np.tile(np.array([left, foot - 20, width, 20]), (n, 1)).astype(np.int64)
    motion = np.tile(np.array([speed, 0, 0.1, 0.1], np.float32), (n, 1))
    frames = np.array(frame if frame is not None else [0] * n)
    return Objects(frame_N=frames, box_N4=box, area_N=box[:, 2] * 15, motion_N4=motion, whole_N=np.ones(n, np.bool_))


def walkers(n: int = 600, videos: int = 4, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the attributes of people who walk to the right on a near lane and to the left on a far one."""
    random = np.random.default_rng(seed)
    near = random.random(n) < 0.5
    attributes = describe(objects(n=n), HEIGHT).copy()
    attributes[:, 0] = random.uniform(0, 1.3, n)
    attributes[:, 1] = np.where(near, random.uniform(0.8, 0.9, n), random.uniform(0.4, 0.5, n))
    attributes[:, 2:5] += random.normal(0, 0.1, (n, 3)) + np.where(near, 0.5, 0)[:, None]
    attributes[:, 5] = np.where(near, 1, -0.6) * random.normal(1, 0.15, n)
    attributes[:, 6:] += random.normal(0, 0.03, (n, 3))
    return attributes, np.arange(n) % videos


def changed(attributes: NDArray[np.float32], column: int, value: float) -> NDArray[np.float32]:
    copy = attributes.copy()
    copy[:, column] = value
    return copy


@pytest.fixture(scope="module")
def memory() -> Memory:
    attributes, video = walkers()
    return remember(attributes, np.ones(len(video), np.bool_), video, np.random.default_rng(0))


def test_normal_objects_of_a_new_video_score_about_one(memory: Memory) -> None:
    again, _ = walkers(seed=1)
    score = memory.score(again)
    assert 0.3 < np.median(score) < 1.2
    assert np.quantile(score, 0.95) < 2


@pytest.mark.parametrize(
    ("what", "column", "value"),
    [("runs", 5, 2.5), ("walks against the stream", 5, -1.0), ("is wide", 3, np.log(60)), ("is tiny", 2, np.log(15))],
)
def test_what_is_unusual_at_its_place_scores_high(memory: Memory, what: str, column: int, value: float) -> None:
    again, _ = walkers(seed=2)
    near = again[again[:, 1] > 0.7]
    normal, unusual = memory.score(near), memory.score(changed(near, column, value))
    assert unusual.min() > np.quantile(normal, 0.95), what


def test_the_same_motion_is_normal_on_one_lane_and_not_on_the_other(memory: Memory) -> None:
    again, _ = walkers(seed=3)
    near, far = again[again[:, 1] > 0.7], again[again[:, 1] < 0.7]
    left = far[:, 5].mean()
    assert memory.score(far).mean() < 1.2
    assert memory.score(changed(near, 5, left)).mean() > 2


def test_what_is_rare_in_every_video_is_not_as_unusual_as_what_is_in_none() -> None:
    attributes, video = walkers()
    rare = changed(attributes[:12], 5, 3.0)
    rare[:, 2:5] += np.random.default_rng(4).normal(0, 0.4, (12, 3))
    together = np.concatenate([attributes, rare])
    known = remember(together, np.ones(len(together), np.bool_), np.r_[video, np.arange(12) % 4], np.random.default_rng(0))
    alone = remember(attributes, np.ones(len(attributes), np.bool_), video, np.random.default_rng(0))
    assert known.score(rare + 0.01).mean() < 0.5 * alone.score(rare + 0.01).mean()


def test_an_object_is_not_excused_by_its_own_video(memory: Memory) -> None:
    attributes, video = walkers()
    odd = changed(attributes, 5, np.where(video == 2, 3.0, attributes[:, 5]))
    known = remember(odd, np.ones(len(odd), np.bool_), video, np.random.default_rng(0))
    own = odd[video == 2]
    assert known.score(own).mean() < 0.8
    assert known.score(own, video=2).mean() > 2


def test_nothing_known_makes_everything_unusual() -> None:
    attributes, video = walkers(8, videos=1)
    nothing = remember(attributes[:0], np.ones(0, np.bool_), video[:0], np.random.default_rng(0))
    assert (nothing.score(attributes) == HIGHEST).all()
    one = remember(attributes, np.ones(8, np.bool_), video, np.random.default_rng(0))
    assert (one.score(attributes, video=0) == HIGHEST).all()
    assert np.isfinite(one.score(attributes)).all()


def test_memory_is_bounded_and_chosen_by_the_seed() -> None:
    attributes, video = walkers(MOST_OBJECTS + 500)
    whole = np.ones(len(video), np.bool_)
    first, again = (remember(attributes, whole, video, np.random.default_rng(5)) for _ in range(2))
    assert len(first.attribute_MD) == MOST_OBJECTS
    np.testing.assert_array_equal(first.attribute_MD, again.attribute_MD)


def test_objects_that_the_border_cuts_to_a_small_rest_are_not_judged() -> None:
    attributes, _ = walkers()
    size = UsualSize(attributes)
    usual = attributes[:1]
    rest = changed(usual, 2, usual[0, 2] + np.log(0.3))
    most = changed(usual, 2, usual[0, 2] + np.log(0.9))
    cut, whole = np.zeros(1, np.bool_), np.ones(1, np.bool_)
    assert not size.shows_enough(rest, cut).any()
    assert size.shows_enough(most, cut).all()
    assert size.shows_enough(rest, whole).all()  # a bag is small, and whole
    assert UsualSize(attributes[:0]).shows_enough(rest, cut).all()


def test_a_frame_is_as_unusual_as_its_most_unusual_object() -> None:
    found = FrameObjects(objects=objects(frame=[1, 1, 3], n=3), score_N=np.array([0.5, 2.0, 1.0]), frames=5)
    np.testing.assert_array_equal(found.worst(), [0, 2, 0, 1, 0])


def test_an_object_is_painted_on_every_cell_that_its_box_reaches_into() -> None:
    boxes = Objects(
        frame_N=np.array([3, 5, 5]),
        box_N4=np.array([[0, 0, 8, 8], [3, 8, 6, 5], [8, 8, 4, 4]]),
        area_N=np.full(3, 9),
        motion_N4=np.zeros((3, 4), np.float32),
        whole_N=np.ones(3, np.bool_),
    )
    map_Nhw = FrameObjects(objects=boxes, score_N=np.array([9.0, 2.0, 1.5]), frames=8).painted(np.array([4, 5]), (4, 5), 4)
    assert not map_Nhw[0].any()
    assert map_Nhw[1].tolist() == [[0] * 5, [0] * 5, [2, 2, 2, 0, 0], [2, 2, 2, 0, 0]]  # the most unusual one counts


def test_a_window_is_the_mean_of_its_frames_and_needs_none_before_the_first() -> None:
    worst_T = np.arange(40.0)
    np.testing.assert_allclose(over_window(worst_T, np.array([8, 20]), 8), [7.5, 19.5])
    np.testing.assert_allclose(over_window(worst_T, np.array([0, 1, 15, 39]), 15), [0, 0.5, 7.5, 31.5])
