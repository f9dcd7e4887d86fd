"""Flow points where things move, in pixels of the stored resolution."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.workspace import Workspace
from pipeline.config import ConfigError, DatasetSettings, load_config
from pipeline.datasets.inventory import take_inventory
from pipeline.datasets.registry import open_dataset
from pipeline.execution.inputs import StoredInputs
from pipeline.execution.runner import run_shards
from pipeline.models.flow import ESTIMATORS, open_flow_estimator, resize_flow
from pipeline.stages.flows import FlowsStage
from pipeline.stages.frames import FramesStage

FRAMES = 18  # two shards of 16, so that a flow reaches across the border of shards


def textured(height: int, width: int) -> NDArray[np.uint8]:
    """Return smooth noise (height, width) over the whole range of grey."""
    noise_HW = np.random.default_rng(0).uniform(0, 255, (height, width)).astype(np.float32)
    smooth_HW = cv2.GaussianBlur(noise_HW, (0, 0), 2)
    return np.asarray((smooth_HW - smooth_HW.min()) * (255 / np.ptp(smooth_HW)), np.uint8)


def moving(count: int, dx: int, dy: int, height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """Return frames (T, H, W) whose content moves ``dx`` pixels to the right and ``dy`` down from each to the next."""
    room_y, room_x = abs(dy) * count, abs(dx) * count
    image = textured(height + 2 * room_y, width + 2 * room_x)
    corners = [(room_y - dy * i, room_x - dx * i) for i in range(count)]
    return np.stack([image[top : top + height, left : left + width] for top, left in corners])


def end_point_error(flow_T2HW: NDArray[np.float32], dx: float, dy: float, rim: int = 16) -> float:
    """Return the mean distance from the true vector, pixels, away from the rim, where content enters and leaves."""
    distance_THW = np.hypot(flow_T2HW[:, 0] - dx, flow_T2HW[:, 1] - dy)
    return float(distance_THW[:, rim:-rim, rim:-rim].mean())


@pytest.mark.parametrize(("dx", "dy"), [(2, -1), (-1, 2)])
@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_a_translation_is_found_within_a_twentieth_of_a_pixel(name: str, dx: int, dy: int) -> None:
    flow_T2HW = open_flow_estimator(name)(moving(4, dx, dy))
    assert flow_T2HW.shape == (3, 2, 96, 128)
    assert flow_T2HW.dtype == np.float32
    assert end_point_error(flow_T2HW, dx, dy) < 0.05


def test_vectors_are_rescaled_with_the_picture() -> None:
    flow_T2HW = np.empty((2, 2, 96, 128), np.float32)
    flow_T2HW[:, 0], flow_T2HW[:, 1] = 4, -3
    small = resize_flow(flow_T2HW, 48, 32)
    assert small.shape == (2, 2, 48, 32)
    np.testing.assert_allclose(small[:, 0], 1, atol=1e-5)
    np.testing.assert_allclose(small[:, 1], -1.5, atol=1e-5)


def test_an_unknown_estimator_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="farneback, dis"):
        open_flow_estimator("raft2")


def write_coloured(root: Path) -> None:
    """Write a video of three channels that differ, moving 2 px to the right and 1 px up, and its grey version beside."""
    picture_THW = moving(FRAMES, 2, -1, 64, 96)
    rgb_THWC = np.stack([picture_THW, picture_THW // 2, 255 - picture_THW // 3], axis=-1)
    for i, rgb_HWC in enumerate(rgb_THWC):
        for name, image in (("rgb", rgb_HWC[..., ::-1]), ("grey", cv2.cvtColor(rgb_HWC, cv2.COLOR_RGB2GRAY))):
            path = root / name / "train" / "a" / f"{i:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), image)


def stored(tmp_path: Path, video: str, *overrides: str) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Return the frames and flow that the two stages store of a video, at its own size unless told otherwise."""
    cache = tmp_path / "-".join(("cache", video, *(text.partition("=")[2] for text in overrides)))
    settings = [f"run.cache='{cache}'", "run.shard_frames=16", "frames.height=64", "frames.width=96", *overrides]
    dataset = open_dataset(DatasetSettings(kind="folder", root=tmp_path / "data" / video))
    records = take_inventory(dataset, cache / "inventory.json").records
    workspace = Workspace(load_config(None, settings), [FramesStage, FlowsStage], records)
    for stage in ("frames", "flows"):
        plan = make_plan(workspace, stage)
        assert not run_shards(workspace, plan, plan.missing, lambda what, done, total: None).failures
    inputs = StoredInputs(workspace)
    return inputs.read("frames", "frames", records[0]), inputs.read("flows", "flow", records[0])


@pytest.mark.parametrize("source", ["frames", "video"])
def test_grey_frames_keep_a_channel_and_their_flow_is_that_of_the_grey_video(tmp_path: Path, source: str) -> None:
    write_coloured(tmp_path / "data")
    coloured_THWC, coloured_flow = stored(tmp_path, "rgb", f"flows.source={source}")
    frames_THWC, flow_T2HW = stored(tmp_path, "rgb", f"flows.source={source}", "frames.colour=grey")
    grey_THWC, grey_flow = stored(tmp_path, "grey", f"flows.source={source}", "frames.colour=grey")
    assert coloured_THWC.shape == (FRAMES, 64, 96, 3)
    assert frames_THWC.shape == (FRAMES, 64, 96, 1)
    np.testing.assert_array_equal(frames_THWC, grey_THWC)
    assert flow_T2HW.shape == (FRAMES - 1, 2, 64, 96)
    np.testing.assert_array_equal(flow_T2HW, grey_flow)
    np.testing.assert_array_equal(flow_T2HW, coloured_flow)
    assert end_point_error(flow_T2HW.astype(np.float32), 2, -1) < 0.05


@pytest.mark.parametrize("source", ["frames", "video"])
def test_flow_at_a_smaller_size_is_in_pixels_of_that_size(tmp_path: Path, source: str) -> None:
    write_coloured(tmp_path / "data")
    _, flow_T2HW = stored(tmp_path, "grey", f"flows.source={source}", "frames.height=32", "frames.width=64")
    assert flow_T2HW.shape == (FRAMES - 1, 2, 32, 64)
    assert end_point_error(flow_T2HW.astype(np.float32), 2 * 64 / 96, -1 * 32 / 64, rim=10) < 0.05
