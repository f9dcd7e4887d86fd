"""A video of noise with a box to repaint in every frame, and the whole inpaint stage over it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.workspace import Workspace
from pipeline.config import load_config
from pipeline.contract import Array, ArraySpec, Inputs, Shard, ShardStage, ShardWorker, VideoRecord
from pipeline.datasets.inventory import take_inventory
from pipeline.datasets.registry import open_dataset
from pipeline.execution.inputs import StoredInputs
from pipeline.execution.runner import run_shards
from pipeline.models.inpainting import frame_seed
from pipeline.stages.frames import FramesStage
from pipeline.stages.inpaint import InpaintStage

Images = NDArray[np.uint8]
SHARD_FRAMES = 64


class BoxMasks(ShardStage):
    """A box of 1.5 % of the frame that moves, in every frame."""

    name: ClassVar[str] = "masks"
    version: ClassVar[int] = 1
    upstream: ClassVar[tuple[str, ...]] = ("frames",)

    def settings(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def length(self, record: VideoRecord) -> int:
        """Return the number of frames."""
        return record.num_frames

    def arrays(self, record: VideoRecord) -> tuple[ArraySpec, ...]:
        """Declare ``mask`` and ``object``."""
        shape = (record.num_frames, self.config.frames.height, self.config.frames.width)
        return (
            ArraySpec(name="mask", shape=shape, dtype="bool", dimension_names=("time", "y", "x")),
            ArraySpec(name="object", shape=shape[:1], dtype="int32", dimension_names=("time",)),
        )

    def worker(self) -> ShardWorker:
        """Return what makes a shard."""

        def make(shard: Shard, inputs: Inputs) -> dict[str, Array]:
            frames = self.config.frames
            mask_THW = boxes(range(shard.start, shard.stop), frames.height, frames.width)
            return {"mask": mask_THW, "object": np.zeros(len(mask_THW), np.int32)}

        return make


def boxes(numbers: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """Return masks (T, H, W) of boxes of a fifth of the height and a thirteenth of the width."""
    mask_THW = np.zeros((len(numbers), height, width), np.bool_)
    for mask_HW, number in zip(mask_THW, numbers, strict=True):
        top, left = height // 3, width // 8 + number * 2 % (width * 3 // 4)
        mask_HW[top : top + height // 5, left : left + width // 13] = True
    return mask_THW


def moving_noise(count: int, height: int, width: int) -> Images:
    """Return frames (T, H, W, 3) of noise that moves by two pixels."""
    noise_HWC = np.random.default_rng(0).integers(0, 256, (height, width + 2 * count, 3), np.uint8)
    return np.stack([noise_HWC[:, 2 * i : 2 * i + width] for i in range(count)])


def seed_of(frame: int) -> int:
    """Return the seed that the stage gives to a frame of the one video here."""
    return frame_seed("dataset", "a", frame, 0)


def write_video(folder: Path, frames_THWC: Images) -> None:
    """Write the only video of a dataset below ``folder``, a folder of pictures."""
    (folder / "data" / "train" / "a").mkdir(parents=True)
    for i, frame_HWC in enumerate(frames_THWC):
        cv2.imwrite(str(folder / "data" / "train" / "a" / f"{i:06d}.png"), frame_HWC[..., ::-1])


class StoredStage:
    """The inpaint stage over the video that lies below ``folder``; frames and masks are stored, the model is loaded."""

    def __init__(self, folder: Path, size: Sequence[int], inpaint: dict[str, Any]) -> None:
        settings = [
            f"inpaint.{name}='{value}'" if isinstance(value, str) else f"inpaint.{name}={value}"
            for name, value in inpaint.items()
        ]
        sizes = [f"frames.height={size[0]}", f"frames.width={size[1]}", f"run.shard_frames={SHARD_FRAMES}"]
        places = [f"run.cache='{folder / 'cache'}'", f"dataset.root='{folder / 'data'}'"]
        config = load_config(None, [*settings, *sizes, *places])
        records = take_inventory(open_dataset(config.dataset), folder / "inventory.json").records
        workspace = Workspace(config, [FramesStage, BoxMasks, InpaintStage], records)
        for name in ("frames", "masks"):
            plan = make_plan(workspace, name)
            outcome = run_shards(workspace, plan, plan.missing, lambda what, done, total: None)
            assert not outcome.failures, outcome.failures
        stage = workspace.stages["inpaint"]
        assert isinstance(stage, ShardStage)
        (self._record,) = records
        self._stage, self._artifact, self._inputs = stage, workspace.artifact("inpaint"), StoredInputs(workspace)
        self._artifact.begin(workspace.declared("inpaint"))
        self._artifact.prepare(self._record, stage.arrays(self._record))
        self._worker = stage.worker()

    def shards(self) -> Iterator[Images]:
        """Make and write one shard after the other; yield the pictures (T, H, W, 3) of each."""
        for shard in self._artifact.shards(self._record, self._stage.length(self._record)):
            arrays = self._worker(shard, self._inputs)
            self._artifact.write(shard, arrays, self._stage.arrays(self._record))
            yield np.asarray(arrays["image"], np.uint8)

    def __call__(self) -> Images:
        """Make and write all shards; return all pictures."""
        return np.concatenate(list(self.shards()))
