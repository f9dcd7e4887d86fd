"""Objects of whole videos: found on the empty scene of their camera and judged by those of normal video."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from squares import HEIGHT, WIDTH, MadeInputs, Street, make_street, silent, small_settings

from pipeline.models.foreground import learn_background
from trainer.objects import over_window
from trainer.scenes import ObjectModel, by_camera, learn_objects


def street(name: str, speed: float = 1.0, seed: int = 0, frames: int = 60) -> Street:
    return make_street(name, speed=lambda frame: speed, seed=seed, frames=frames)


def normal_streets() -> list[Street]:
    return [street(f"{n}", speed=1 + 0.05 * n, seed=n) for n in range(6)]


@pytest.fixture(scope="module")
def model() -> ObjectModel:
    return learn_objects(MadeInputs(normal_streets()), small_settings(), silent)[0]


def worst(model: ObjectModel, video: Street) -> float:
    found = model.judge(video.arrays["frames", "frames"], video.arrays["flows", "flow"])
    return float(np.median(found.worst()[10:-10]))


def other_camera(video: Street) -> Street:
    """Return the video as a camera sees it that hangs upside down over another ground."""
    arrays = dict(video.arrays)
    frames = arrays["frames", "frames"].astype(np.float64)[:, ::-1]
    ground = 80 * np.random.default_rng(3).random((HEIGHT, WIDTH, 1))
    arrays["frames", "frames"] = np.where(frames > 150, frames, ground + frames / 2).astype(np.uint8)
    arrays["flows", "flow"] = arrays["flows", "flow"][:, :, ::-1].copy()
    return Street(record=video.record, arrays=arrays)


@pytest.mark.parametrize("speed", [-1.0, 3.0])
def test_motion_that_no_training_video_shows_is_unusual(model: ObjectModel, speed: float) -> None:
    assert worst(model, street("test", speed, seed=9)) > 2 * worst(model, street("test", 1.1, seed=9))


def test_a_thing_that_was_put_down_is_unusual_though_nothing_moves(model: ObjectModel) -> None:
    video = street("test", 1.0, seed=9)
    left = {name: array.copy() for name, array in video.arrays.items()}
    left["frames", "frames"][:, 24:28, 20:24] = 255
    assert worst(model, Street(record=video.record, arrays=left)) > 1.5 * worst(model, video)


def test_scores_of_training_video_are_those_of_new_video() -> None:
    streets = [*normal_streets(), street("odd", -1.0, seed=20)]
    inputs = MadeInputs(streets)
    _, judged = learn_objects(inputs, small_settings(), silent)
    worst_N = judged.worst()
    frames = [record.num_frames for record in inputs.videos("train")]
    assert len(worst_N) == sum(frames)
    by_video = np.split(worst_N, np.cumsum(frames)[:-1])
    medians = {record.id: np.median(part) for record, part in zip(inputs.videos("train"), by_video, strict=True)}
    assert medians.pop("odd") > 2 * max(medians.values())


def test_a_single_video_is_judged_by_its_other_parts() -> None:
    changing: Callable[[int], float] = lambda frame: 1.0 if frame < 60 else -2.0  # noqa: E731
    inputs = MadeInputs([make_street("only", speed=changing, frames=80)])
    _, judged = learn_objects(inputs, small_settings(), silent)
    worst_N = judged.worst()
    assert np.median(worst_N[62:]) > 2 * np.median(worst_N[5:55])


def test_two_cameras_are_two_scenes_and_each_video_is_judged_by_its_own() -> None:
    here, there = normal_streets(), [other_camera(street(f"there{n}", -1.0, seed=n)) for n in range(4)]
    model, _ = learn_objects(MadeInputs([*here, *there]), small_settings(), silent)
    assert len(model.scenes) == 2
    against = street("test", -1.0, seed=9)
    assert worst(model, against) > 2 * worst(model, street("test", 1.0, seed=9))
    assert worst(model, other_camera(against)) < 0.5 * worst(model, against)


def test_videos_of_one_camera_are_one_scene_though_their_light_differs() -> None:
    backgrounds = []
    for n, gain in enumerate((1.0, 0.9, 1.1)):
        frames = street(f"{n}", seed=n).arrays["frames", "frames"] * gain
        backgrounds.append(learn_background(frames.astype(np.uint8)))
    assert by_camera(backgrounds) == [[0, 1, 2]]


def test_a_stored_model_judges_the_same(model: ObjectModel) -> None:
    again = ObjectModel.from_tensors({name: tensor.clone() for name, tensor in model.tensors().items()})
    video = street("test", 2.0, seed=9)
    arrays = video.arrays["frames", "frames"], video.arrays["flows", "flow"]
    np.testing.assert_array_equal(again.judge(*arrays).score_N, model.judge(*arrays).score_N)
    with pytest.raises(KeyError, match="spread_D"):
        ObjectModel.from_tensors({name: tensor for name, tensor in model.tensors().items() if "spread_D" not in name})


def test_a_stretch_of_a_video_is_judged_as_the_whole_is(model: ObjectModel) -> None:
    video = street("test", 2.0, seed=9)
    frames, flow = video.arrays["frames", "frames"], video.arrays["flows", "flow"]
    whole, part = model.judge(frames, flow).worst(), model.judge(frames[20:50], flow[20:49]).worst()
    np.testing.assert_allclose(part[1:], whole[21:50])  # the first frame of a stretch has no motion of its own
    assert over_window(whole, np.array([40]), 15) == pytest.approx(over_window(part, np.array([20]), 15), rel=0.01)


def test_tensors_are_plain(model: ObjectModel) -> None:
    assert all(isinstance(tensor, torch.Tensor) and not tensor.is_complex() for tensor in model.tensors().values())
