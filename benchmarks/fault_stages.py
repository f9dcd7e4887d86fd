"""The stages of ``stpa``, which also note every shard that they begin: for ``benchmarks/faults.py``.

Their keys are those of the real ones, whose work they do. A line per shard goes to the file that STPA_FAULTS_LOG names.
"""

import os
from typing import ClassVar
from unittest.mock import patch

import stpa
from pipeline.artifacts.receipts import video_name
from pipeline.contract import Array, Inputs, Shard, ShardStage, ShardWorker, Split
from pipeline.stages.flows import FlowsStage
from pipeline.stages.frames import FramesStage
from pipeline.stages.masks import MasksStage


def noted(worker: ShardWorker, stage: str) -> ShardWorker:
    """Return a worker that notes each shard before it makes it, in one write that no other process can cut in two."""

    def make(shard: Shard, inputs: Inputs) -> dict[str, Array]:
        handle = os.open(os.environ["STPA_FAULTS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{stage}\t{video_name(shard.record)}\t{shard.index}\n".encode())
        os.close(handle)
        return worker(shard, inputs)

    return make


class NotedFrames(FramesStage):
    """Frames."""

    def worker(self) -> ShardWorker:
        """Note and make."""
        return noted(super().worker(), self.name)


class NotedFlows(FlowsStage):
    """Flow."""

    def worker(self) -> ShardWorker:
        """Note and make."""
        return noted(super().worker(), self.name)


class NotedMasks(MasksStage):
    """Masks, of both splits, so that every video has all three stages."""

    splits: ClassVar[tuple[Split, ...]] = ("train", "test")

    def worker(self) -> ShardWorker:
        """Note and make."""
        return noted(super().worker(), self.name)


STAGES: tuple[type[ShardStage], ...] = (NotedFrames, NotedFlows, NotedMasks)


def main() -> None:
    """Be the ``stpa`` command with these stages."""
    with patch.object(stpa, "STAGES", [f"benchmarks.fault_stages:{stage.__name__}" for stage in STAGES]):
        stpa.main()
