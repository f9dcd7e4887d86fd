"""A small video through the stages frames and flows."""

from pathlib import Path

import cv2
import numpy as np
from motion import moving
from numpy.typing import NDArray

from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.workspace import Workspace
from pipeline.config import DatasetSettings, load_config
from pipeline.datasets.inventory import take_inventory
from pipeline.datasets.registry import open_dataset
from pipeline.execution.inputs import StoredInputs
from pipeline.execution.runner import run_shards
from pipeline.stages.flows import FlowsStage
from pipeline.stages.frames import FramesStage

FRAMES = 18  # two shards of 16, so that a flow reaches across the border of shards


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
    workspace = workspace_of(tmp_path, video, *overrides)
    inputs, (record,) = StoredInputs(workspace), workspace.records
    return inputs.read("frames", "frames", record), inputs.read("flows", "flow", record)


def workspace_of(tmp_path: Path, video: str, *overrides: str) -> Workspace:
    """Run the two stages over one of the datasets in ``tmp_path / "data"``."""
    cache = tmp_path / "-".join(("cache", video, *(text.rpartition("/")[2].partition("=")[2] for text in overrides)))
    settings = [f"run.cache='{cache}'", "run.shard_frames=16", "frames.height=64", "frames.width=96", *overrides]
    dataset = open_dataset(DatasetSettings(kind="folder", root=tmp_path / "data" / video))
    records = take_inventory(dataset, cache / "inventory.json").records
    workspace = Workspace(load_config(None, settings), [FramesStage, FlowsStage], records)
    for stage in ("frames", "flows"):
        plan = make_plan(workspace, stage)
        outcome = run_shards(workspace, plan, plan.missing, lambda what, done, total: None)
        assert not outcome.failures, outcome.failures
    return workspace
