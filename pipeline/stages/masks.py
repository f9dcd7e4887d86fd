"""Masks: which region of a training frame becomes a pseudo-anomaly, the silhouette of one moving object at a time."""

import hashlib
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from pipeline.config import Config, ConfigError, MasksSettings
from pipeline.contract import Array, ArraySpec, Inputs, Shard, ShardStage, ShardWorker, Split, VideoRecord

SOURCES = ("motion", "random")
BLOCK_FRAMES = 1024
"""Objects are sought in blocks of at most this many frames, each with a background of its own: this bounds the memory for
a video of any length, and lets the background follow the light. No object is kept over a border of blocks."""


class MasksStage(ShardStage):
    """Writes ``mask`` (T, H, W) bool, True = to be replaced, and ``object`` (T,) int32, which object it is, -1 = none."""

    name: ClassVar[str] = "masks"
    version: ClassVar[int] = 2
    upstream: ClassVar[tuple[str, ...]] = ("frames", "flows")
    splits: ClassVar[tuple[Split, ...]] = ("train",)

    def settings(self) -> dict[str, Any]:
        """Return everything of the section."""
        return self.config.masks.determining()

    def check(self) -> None:
        """Refuse an unknown source before anything is read."""
        source = self.config.masks.source
        if source not in SOURCES:
            raise ConfigError(f"masks.source: expected one of {', '.join(SOURCES)}, found {source!r}")

    def length(self, record: VideoRecord) -> int:
        """Return the number of frames."""
        return record.num_frames

    def arrays(self, record: VideoRecord) -> tuple[ArraySpec, ...]:
        """Declare ``mask`` and ``object``."""
        frames = self.config.frames
        return (
            ArraySpec(
                name="mask",
                shape=(record.num_frames, frames.height, frames.width),
                dtype="bool",
                dimension_names=("time", "y", "x"),
                description="True = region to replace",
            ),
            ArraySpec(
                name="object",
                shape=(record.num_frames,),
                dtype="int32",
                dimension_names=("time",),
                description="which object the mask covers, numbered within the video; -1 = none",
            ),
        )

    def worker(self) -> ShardWorker:
        """Find the objects of whole blocks, so that where a shard ends changes nothing, and keep the last blocks."""
        find = _find_random if self.config.masks.source == "random" else _find_moving
        kept: dict[tuple[VideoRecord, int], dict[str, Array]] = {}

        def block(record: VideoRecord, number: int, inputs: Inputs) -> dict[str, Array]:
            if (record, number) not in kept:
                while len(kept) > 1:  # a shard may lie across two blocks
                    del kept[next(iter(kept))]
                kept[record, number] = find(self.config, record, number, inputs)
            return kept[record, number]

        def make(shard: Shard, inputs: Inputs) -> dict[str, Array]:
            parts: list[dict[str, Array]] = []
            for number, (start, stop) in enumerate(blocks(shard.record.num_frames)):
                if start < shard.stop and stop > shard.start:
                    found = block(shard.record, number, inputs)
                    inside = slice(max(shard.start - start, 0), min(shard.stop, stop) - start)
                    parts.append({name: values[inside] for name, values in found.items()})
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

        return make


def blocks(frames: int) -> list[tuple[int, int]]:
    """Return blocks of about equal length, at most :data:`BLOCK_FRAMES`, as (start, stop)."""
    count = max(1, -(-frames // BLOCK_FRAMES))
    borders = [frames * number // count for number in range(count + 1)]
    return list(pairwise(borders))


def _find_moving(config: Config, record: VideoRecord, number: int, inputs: Inputs) -> dict[str, Array]:
    from pipeline.models.silhouettes import moving_objects

    start, stop = blocks(record.num_frames)[number]
    mask_THW, object_T = moving_objects(
        lambda first, last: inputs.read("frames", "frames", record, start + first, start + last),
        lambda first, last: inputs.read("flows", "flow", record, start + first, start + last),
        stop - start,
        config.masks,
        _generator(config.masks, record, number),
    )
    return {"mask": mask_THW, "object": _numbered(object_T, number)}


def _find_random(config: Config, record: VideoRecord, number: int, inputs: Inputs) -> dict[str, Array]:
    from pipeline.models.random_masks import random_objects

    start, stop = blocks(record.num_frames)[number]
    shape = config.frames.height, config.frames.width
    mask_THW, object_T = random_objects(stop - start, shape, config.masks, _generator(config.masks, record, number))
    return {"mask": mask_THW, "object": _numbered(object_T, number)}


def _generator(settings: MasksSettings, record: VideoRecord, number: int) -> np.random.Generator:
    """Draw from the seed, the video and the block only: other videos of the dataset make no difference."""
    digest = hashlib.sha256(record.id.encode()).digest()
    return np.random.default_rng([settings.seed % 2**64, int.from_bytes(digest[:8], "big"), number])


def _numbered(object_T: Array, number: int) -> Array:
    """Give the objects of each block numbers of their own."""
    return np.where(object_T < 0, -1, object_T + number * 2**16).astype(np.int32)
