"""Masks: which region of a training frame becomes a pseudo-anomaly, the silhouette of one object at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pipeline.config import Config, ConfigError, MasksSettings
from pipeline.contract import Array, ArraySpec, Inputs, Shard, ShardStage, ShardWorker, Split, VideoRecord

if TYPE_CHECKING:  # `stpa status` must not wait for OpenCV
    from pipeline.models.mask_rcnn import MaskRcnn
    from pipeline.models.object_choice import ObjectMasks

SOURCES = ("motion", "mask-rcnn", "random")
BLOCK_FRAMES = 1024
"""Objects are sought in blocks of at most this many frames, each with a background of its own: this bounds the memory for
a video of any length, and lets the background follow the light. No object is kept over a border of blocks."""
DETECTED_FRAMES = 64
"""Frames in memory at once while a detector looks at them."""


class MasksStage(ShardStage):
    """Writes ``mask`` (T, H, W) bool, True = to be replaced, and ``object`` (T,) int32, which object it is, -1 = none."""

    name: ClassVar[str] = "masks"
    version: ClassVar[int] = 2
    upstream: ClassVar[tuple[str, ...]] = ("frames", "flows")
    splits: ClassVar[tuple[Split, ...]] = ("train",)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        # What this instance reads and costs hides what the class says, which is true of the default source: flow is not
        # asked for, and no part of the key, where nobody looks at it.
        if config.masks.source == "mask-rcnn":
            vars(self).update(upstream=("frames",), costly=True)
        elif config.masks.source == "random":
            vars(self).update(upstream=("frames",))

    def settings(self) -> dict[str, Any]:
        """Return what determines the masks; of Mask R-CNN also what identifies its weights."""
        from pipeline.models.mask_rcnn_weights import mask_rcnn_weights

        masks = self.config.masks
        if masks.source != "mask-rcnn":
            return masks.determining()
        return {**masks.determining(), "weights": mask_rcnn_weights(masks).identity()}

    def check(self) -> None:
        """Refuse an unknown source, or a detector without weights or classes, before anything is read."""
        source = self.config.masks.source
        if source not in SOURCES:
            raise ConfigError(f"masks.source: expected one of {', '.join(SOURCES)}, found {source!r}")
        if source == "mask-rcnn":
            from pipeline.models.mask_rcnn import check_mask_rcnn

            check_mask_rcnn(self.config.masks)

    def provenance(self) -> dict[str, Any]:
        """Tell where Mask R-CNN ran and how many frames it saw at once."""
        masks = self.config.masks
        if masks.source != "mask-rcnn":
            return {}
        from pipeline.models.devices import pick_device

        return {"device": str(pick_device(masks.device)), "batch_size": masks.batch_size}

    @property
    def together(self) -> int:
        """Objects are found block by block."""
        return BLOCK_FRAMES

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
        """Find the objects of whole blocks, so that where a shard ends changes nothing; keep those of the last blocks."""
        find = _finder(self.config)
        kept: dict[tuple[VideoRecord, int], ObjectMasks] = {}

        def block(record: VideoRecord, number: int, inputs: Inputs) -> ObjectMasks:
            if (record, number) not in kept:
                while len(kept) > 1:  # a shard may lie across two blocks
                    del kept[next(iter(kept))]
                kept[record, number] = find(record, number, inputs)
            return kept[record, number]

        def make(shard: Shard, inputs: Inputs) -> dict[str, Array]:
            masks, objects = [], []
            for number, (start, stop) in enumerate(blocks(shard.record.num_frames)):
                if start < shard.stop and stop > shard.start:
                    found = block(shard.record, number, inputs)
                    first, last = max(shard.start - start, 0), min(shard.stop, stop) - start
                    masks.append(found.paint(first, last))
                    objects.append(_numbered(found.object_T[first:last], number))
            return {"mask": np.concatenate(masks), "object": np.concatenate(objects)}

        return make


def blocks(frames: int) -> list[tuple[int, int]]:
    """Return blocks of about equal length, at most :data:`BLOCK_FRAMES`, as (start, stop)."""
    count = max(1, -(-frames // BLOCK_FRAMES))
    borders = [frames * number // count for number in range(count + 1)]
    return list(pairwise(borders))


Finder = Callable[[VideoRecord, int, Inputs], "ObjectMasks"]
"""(video, number of the block, inputs) -> masks of the frames of that block."""


def _finder(config: Config) -> Finder:
    """Return what finds the masks of a block; weights are loaded."""
    if config.masks.source == "random":
        return partial(_find_random, config)
    if config.masks.source == "motion":
        return partial(_find_moving, config)
    from pipeline.models.mask_rcnn import open_mask_rcnn

    return partial(_find_instances, config, open_mask_rcnn(config.masks))


def _find_moving(config: Config, record: VideoRecord, number: int, inputs: Inputs) -> ObjectMasks:
    from pipeline.models.silhouettes import moving_objects

    start, stop = blocks(record.num_frames)[number]
    return moving_objects(
        lambda first, last: inputs.read("frames", "frames", record, start + first, start + last),
        lambda first, last: inputs.read("flows", "flow", record, start + first, start + last),
        stop - start,
        config.masks,
        _generator(config.masks, record, number),
    )


def _find_instances(config: Config, detect: MaskRcnn, record: VideoRecord, number: int, inputs: Inputs) -> ObjectMasks:
    from pipeline.models.instances import follow_instances
    from pipeline.models.object_choice import choose_masks

    start, stop = blocks(record.num_frames)[number]
    shape = config.frames.height, config.frames.width
    found = (
        instances
        for first in range(start, stop, DETECTED_FRAMES)
        for instances in detect(inputs.read("frames", "frames", record, first, min(first + DETECTED_FRAMES, stop)))
    )
    tracks, generator = follow_instances(found, shape), _generator(config.masks, record, number)
    return choose_masks(tracks, stop - start, shape, config.masks, generator, people=True)


def _find_random(config: Config, record: VideoRecord, number: int, inputs: Inputs) -> ObjectMasks:
    from pipeline.models.object_choice import ObjectMasks, random_masks

    start, stop = blocks(record.num_frames)[number]
    shape, generator = (config.frames.height, config.frames.width), _generator(config.masks, record, number)
    return ObjectMasks(stop - start, shape, random_masks(stop - start, shape, config.masks, generator))


def _generator(settings: MasksSettings, record: VideoRecord, number: int) -> np.random.Generator:
    """Draw from the seed, the video and the block only: other videos of the dataset make no difference."""
    digest = hashlib.sha256(record.id.encode()).digest()
    return np.random.default_rng([settings.seed % 2**64, int.from_bytes(digest[:8], "big"), number])


def _numbered(object_T: Array, number: int) -> Array:
    """Give the objects of each block numbers of their own."""
    return np.where(object_T < 0, -1, object_T + number * 2**16).astype(np.int32)
