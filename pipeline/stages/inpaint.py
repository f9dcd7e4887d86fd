"""Inpaint: spatial pseudo-anomalies, the masked object of each frame repainted by a latent diffusion model."""

from typing import Any, ClassVar

import numpy as np

from pipeline.contract import Array, ArraySpec, Inputs, Shard, ShardStage, ShardWorker, Split, VideoRecord
from pipeline.stages.pictures import picture_array


class InpaintStage(ShardStage):
    """Writes ``image`` (T, H, W, C) uint8 as the frames are; frames without an object are copied."""

    name: ClassVar[str] = "inpaint"
    version: ClassVar[int] = 1
    upstream: ClassVar[tuple[str, ...]] = ("frames", "masks")
    splits: ClassVar[tuple[Split, ...]] = ("train",)
    costly: ClassVar[bool] = True

    def settings(self) -> dict[str, Any]:
        """Return model, steps and seed, and what else decides the pixels: the weights themselves and the seeds' name."""
        from pipeline.models.inpainting import PRECISION, inpainter_identity

        settings = self.config.inpaint.determining()
        return {
            **settings,
            "model": settings["model"] if settings["model"] == "embedded" else "folder",  # where it lies changes no pixel
            "model_identity": inpainter_identity(self.config.inpaint),
            "precision": PRECISION,
            "dataset": self.config.dataset.name,
        }

    def check(self) -> None:
        """Refuse missing weights before anything is read."""
        from pipeline.models.inpainting import inpainter_folder

        inpainter_folder(self.config.inpaint)

    @property
    def in_order(self) -> bool:
        """Frames are independent of each other."""
        return False

    def length(self, record: VideoRecord) -> int:
        """Return the number of frames."""
        return record.num_frames

    def arrays(self, record: VideoRecord) -> tuple[ArraySpec, ...]:
        """Declare ``image``."""
        described = "frames with one object repainted (spatial pseudo-anomalies)"
        return (picture_array("image", described, record, self.config.frames),)

    def worker(self) -> ShardWorker:
        """Load the inpainter; paint the frames that have an object."""
        from pipeline.models.inpainting import frame_seed, open_inpainter

        settings, dataset = self.config.inpaint, self.config.dataset.name
        paint = open_inpainter(settings)

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
