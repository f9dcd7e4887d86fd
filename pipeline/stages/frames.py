"""Frames: videos decoded and resized to model resolution, once."""

from functools import partial
from typing import Any, ClassVar

from pipeline.contract import Array, ArraySpec, Inputs, Shard, ShardStage, ShardWorker, VideoRecord
from pipeline.stages.pictures import picture_array


class FramesStage(ShardStage):
    """Writes ``frames`` (T, H, W, C) uint8, RGB or grey, in 0..255."""

    name: ClassVar[str] = "frames"
    version: ClassVar[int] = 1

    def settings(self) -> dict[str, Any]:
        """Return size and colour."""
        return self.config.frames.determining()

    def length(self, record: VideoRecord) -> int:
        """Return the number of frames."""
        return record.num_frames

    def arrays(self, record: VideoRecord) -> tuple[ArraySpec, ...]:
        """Declare ``frames``."""
        return (picture_array("frames", "frames at model resolution", record, self.config),)

    def worker(self) -> ShardWorker:
        """Decode, resize and, where asked for, turn to grey."""
        from pipeline.artifacts.checked_rows import RoomForRows
        from pipeline.datasets.reader import PlainRoom
        from pipeline.stages.prepare import model_frame
        from pipeline.stages.source import SourceFrames

        # what is packed is read once more in any case
        source = SourceFrames(ahead=True, make_room=PlainRoom if self.config.run.compress else RoomForRows)
        convert = partial(model_frame, settings=self.config.frames)

        def make(shard: Shard, inputs: Inputs) -> dict[str, Array]:
            return {"frames": source.read(shard.record, shard.start, shard.stop, convert)}

        return make
