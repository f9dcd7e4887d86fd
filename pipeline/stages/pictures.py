"""What the stages that store whole pictures declare alike."""

from pipeline.config import Config
from pipeline.contract import ArraySpec, VideoRecord


def picture_array(name: str, description: str, record: VideoRecord, config: Config) -> ArraySpec:
    """Declare one picture per frame of a video, (T, H, W, C) uint8 0..255 at model resolution, C = 1 grey or 3 RGB."""
    frames = config.frames
    channels = 1 if frames.colour == "grey" else 3
    return ArraySpec(
        name=name,
        shape=(record.num_frames, frames.height, frames.width, channels),
        dtype="uint8",
        dimension_names=("time", "y", "x", "channel"),
        description=f"{frames.colour} {description}",
        packed=config.run.compress,
    )
