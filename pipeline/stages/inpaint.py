"""Inpaint: spatial pseudo-anomalies, the masked object of each frame repainted."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from pipeline.config import Config
from pipeline.contract import Array, ArraySpec, Inputs, Shard, ShardStage, ShardWorker, Split, VideoRecord
from pipeline.stages.pictures import picture_array


class InpaintStage(ShardStage):
    """Writes ``image`` (T, H, W, C) uint8 as the frames are; frames without an object are copied."""

    name: ClassVar[str] = "inpaint"
    version: ClassVar[int] = 1
    upstream: ClassVar[tuple[str, ...]] = ("frames", "masks")
    splits: ClassVar[tuple[Split, ...]] = ("train",)
    costly: ClassVar[bool] = True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._provenance: Callable[[], dict[str, Any]] = dict

    def settings(self) -> dict[str, Any]:
        """Return what decides the pixels: settings that the model reads, the weights themselves and the seeds' name."""
        from pipeline.models.inpainting import declared_settings

        return {**declared_settings(self.config.inpaint), "dataset": self.config.dataset.name}

    def check(self) -> None:
        """Refuse missing weights before anything is read."""
        from pipeline.models.inpainting import check_inpainter

        check_inpainter(self.config.inpaint)

    def provenance(self) -> dict[str, Any]:
        """Return device, precision and the number of pictures at once, as the inpainter has them by now."""
        return self._provenance()

    def length(self, record: VideoRecord) -> int:
        """Return the number of frames."""
        return record.num_frames

    def arrays(self, record: VideoRecord) -> tuple[ArraySpec, ...]:
        """Declare ``image``."""
        described = "frames with one object repainted (spatial pseudo-anomalies)"
        return (picture_array("image", described, record, self.config),)

    def worker(self) -> ShardWorker:
        """Load the inpainter; paint the frames that have an object."""
        from pipeline.models.inpainting import frame_seed, open_inpainter

        settings, dataset = self.config.inpaint, self.config.dataset.name
        paint = open_inpainter(settings)
        self._provenance = paint.provenance

        def make(shard: Shard, inputs: Inputs) -> dict[str, Array]:
            record, start, stop = shard.record, shard.start, shard.stop
            image_THWC = inputs.read("frames", "frames", record, start, stop).copy()
            mask_THW = inputs.read("masks", "mask", record, start, stop).astype(np.bool_)
            chosen = np.flatnonzero(inputs.read("masks", "object", record, start, stop) >= 0)
            seeds = [frame_seed(dataset, record.id, start + int(i), settings.seed) for i in chosen]
            if len(chosen):
                channels = image_THWC.shape[-1]
                colour_BHWC = np.repeat(image_THWC[chosen], 3 // channels, axis=-1)
                image_THWC[chosen] = paint(colour_BHWC, mask_THW[chosen], seeds)[..., :channels]
            return {"image": image_THWC}

        return make
