"""Flows: dense optical flow between consecutive frames, at the resolution of the stored frames."""

from typing import Any, ClassVar

import numpy as np

from pipeline.config import FLOW_FILES
from pipeline.contract import Array, ArraySpec, Inputs, Shard, ShardStage, ShardWorker, VideoRecord
from pipeline.models.flow_weights import DEFAULT

BLOCK_BYTES = 64 * 2**20
"""Of frames at native size, and of their flow, of which a shard would take gigabytes."""


class FlowsStage(ShardStage):
    """Writes ``flow`` (T-1, 2, H, W) float16, pixels per frame at the stored resolution; x to the right, then y down."""

    name: ClassVar[str] = "flows"
    version: ClassVar[int] = 1
    upstream: ClassVar[tuple[str, ...]] = ("frames",)
    costly: ClassVar[bool] = True

    def settings(self) -> dict[str, Any]:
        """Return estimator and source; of RAFT how it is run and what identifies its weights, of files their content."""
        from pipeline.models.flow_weights import weights_identity

        flows = self.config.flows
        if flows.estimator == FLOW_FILES:
            from pipeline.stages.flow_folder import folder_identity

            return {**flows.determining(), "files": folder_identity(flows)}
        if flows.estimator not in DEFAULT:
            return flows.determining()
        return {**flows.determining(), "weights": weights_identity(flows)}

    def check(self) -> None:
        """Refuse an unknown estimator, or one without weights or files, before anything is read."""
        if self.config.flows.estimator == FLOW_FILES:
            from pipeline.stages.flow_folder import require_folder

            require_folder(self.config.flows)
            return
        from pipeline.models.flow import check_flow_estimator

        check_flow_estimator(self.config.flows)

    def provenance(self) -> dict[str, Any]:
        """Tell where RAFT ran and how many pairs it saw at once."""
        flows = self.config.flows
        if flows.estimator not in DEFAULT:
            return {}
        from pipeline.models.devices import pick_device

        return {"device": str(pick_device(flows.device)), "batch_size": flows.batch_size}

    @property
    def in_order(self) -> bool:
        """Only videos that are decoded are read from front to back."""
        return self.config.flows.source == "video"

    def length(self, record: VideoRecord) -> int:
        """Return the number of pairs of consecutive frames."""
        return record.num_frames - 1

    def arrays(self, record: VideoRecord) -> tuple[ArraySpec, ...]:
        """Declare ``flow``."""
        frames = self.config.frames
        return (
            ArraySpec(
                name="flow",
                shape=(record.num_frames - 1, 2, frames.height, frames.width),
                dtype="float16",
                dimension_names=("time", "component", "y", "x"),
                units="pixel/frame",
                description="flow[i] maps frame i to i+1; component 0 = x to the right, 1 = y downwards",
                packed=self.config.run.compress,
            ),
        )

    def worker(self) -> ShardWorker:
        """Load the estimator; it sees the stored frames, or those of the video at its native size."""
        if self.config.flows.estimator == FLOW_FILES:
            return self._reading_worker()
        from pipeline.stages.prepare import open_flow
        from pipeline.stages.source import SourceFrames

        flow = open_flow(self.config.flows, self.config.frames)
        if self.config.flows.source == "frames":
            # flow[i] needs frame i + 1
            return lambda shard, inputs: {
                "flow": flow(inputs.read("frames", "frames", shard.record, shard.start, shard.stop + 1))
            }
        source = SourceFrames()

        def make(shard: Shard, inputs: Inputs) -> dict[str, Array]:
            block = self._block_pairs(shard.record)
            starts = range(shard.start, shard.stop, block)
            stops = (min(start + block, shard.stop) for start in starts)
            return {
                "flow": np.concatenate(
                    [flow(source.read(shard.record, start, stop + 1)) for start, stop in zip(starts, stops, strict=True)]
                )
            }

        return make

    def _block_pairs(self, record: VideoRecord) -> int:
        """Return how many pairs of frames are held at native size at once: whole batches of RAFT, so that these stay."""
        batch = self.config.flows.batch_size if self.config.flows.estimator in DEFAULT else 1
        pair_bytes = record.height * record.width * (3 + 2 * 4)  # a frame, and its flow in float32
        return batch * max(1, BLOCK_BYTES // (pair_bytes * batch))

    def _reading_worker(self) -> ShardWorker:
        from pipeline.stages.flow_folder import FlowFolder, require_folder

        source = FlowFolder(require_folder(self.config.flows), self.config.frames)
        return lambda shard, inputs: {"flow": source.read(shard.record, shard.start, shard.stop)}
