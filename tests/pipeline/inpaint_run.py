"""A small workspace in which the inpaint stage runs with any model, and a frame with an object."""

from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from tiny_ldm import write_tiny_ldm

from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.workspace import Workspace
from pipeline.config import DatasetSettings, load_config
from pipeline.contract import Array, ArraySpec, Inputs, Shard, ShardStage, ShardWorker, Split, VideoRecord
from pipeline.datasets.inventory import take_inventory
from pipeline.datasets.registry import open_dataset
from pipeline.execution.inputs import StoredInputs
from pipeline.execution.runner import run_shards
from pipeline.stages.frames import FramesStage
from pipeline.stages.inpaint import InpaintStage

FRAMES = 20


class BoxMasks(ShardStage):
    """Masks as the real stage writes them: a box that moves, in all frames but every third."""

    name: ClassVar[str] = "masks"
    version: ClassVar[int] = 1
    upstream: ClassVar[tuple[str, ...]] = ("frames",)
    splits: ClassVar[tuple[Split, ...]] = ("train",)

    def settings(self) -> dict[str, Any]:
        return {}

    def length(self, record: VideoRecord) -> int:
        return record.num_frames

    def arrays(self, record: VideoRecord) -> tuple[ArraySpec, ...]:
        frames = self.config.frames
        shape = (record.num_frames, frames.height, frames.width)
        return (
            ArraySpec(name="mask", shape=shape, dtype="bool", dimension_names=("time", "y", "x")),
            ArraySpec(name="object", shape=shape[:1], dtype="int32", dimension_names=("time",)),
        )

    def worker(self) -> ShardWorker:
        def make(shard: Shard, inputs: Inputs) -> dict[str, Array]:
            frames = self.config.frames
            numbers = np.arange(shard.start, shard.stop)
            mask_THW = np.zeros((len(numbers), frames.height, frames.width), np.bool_)
            for i, number in enumerate(numbers):
                mask_THW[i, 8:24, number : number + 12] = number % 3 > 0
            return {"mask": mask_THW, "object": np.where(numbers % 3 > 0, 4, -1).astype(np.int32)}

        return make


def make_videos(root: Path) -> None:
    rng = np.random.default_rng(0)
    for video in ("a", "b"):
        folder = root / "train" / video
        folder.mkdir(parents=True)
        for i in range(FRAMES):
            assert cv2.imwrite(str(folder / f"{i:03d}.png"), rng.integers(0, 256, (32, 48, 3), np.uint8))


def open_workspace(tmp_path: Path, *overrides: str) -> Workspace:
    if not (tmp_path / "data").exists():
        make_videos(tmp_path / "data")
    model = tmp_path / "ldm"
    if not model.exists():
        write_tiny_ldm(model)
    settings = [
        f"run.cache='{tmp_path / 'cache'}'",
        "run.shard_frames=16",
        "frames.height=32",
        "frames.width=48",
        f"inpaint.model='{model}'",
        "inpaint.steps=2",
        "inpaint.device=cpu",
        f"dataset.root='{tmp_path / 'data'}'",
    ]
    config = load_config(None, [*settings, *overrides])
    dataset = open_dataset(DatasetSettings(kind="folder", root=tmp_path / "data"))
    records = take_inventory(dataset, tmp_path / "inventory.json").records
    return Workspace(config, [FramesStage, BoxMasks, InpaintStage], records)


def run(workspace: Workspace) -> StoredInputs:
    for stage in ("frames", "masks", "inpaint"):
        plan = make_plan(workspace, stage)
        outcome = run_shards(workspace, plan, plan.missing, lambda what, done, total: None)
        assert not outcome.failures, outcome
    return StoredInputs(workspace)


def read(inputs: StoredInputs, stage: str, name: str, video: int = 0) -> Array:
    return inputs.read(stage, name, inputs.videos("train")[video])


def street() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a frame of 128 x 160 of the synthetic dataset and the pixels of an object in it."""
    from pipeline.synthetic import SyntheticSettings, render_video

    video = render_video(SyntheticSettings(seed=5, test_videos=10, frames=60), "test", 1)
    frame = int(video.mask_THW.sum(axis=(1, 2)).argmax())
    frame_HWC = cv2.resize(video.frames_THWC[frame], (160, 128), interpolation=cv2.INTER_AREA)
    mask_HW = cv2.resize(video.mask_THW[frame].astype(np.uint8), (160, 128), interpolation=cv2.INTER_NEAREST)
    return np.asarray(frame_HWC, np.uint8), cv2.dilate(mask_HW, np.ones((3, 3), np.uint8)) > 0
