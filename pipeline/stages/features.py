"""Features: what a CLIP image encoder makes of each frame, of normal video and of spatial pseudo-anomalies."""

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pipeline.config import Config
from pipeline.contract import Array, ArraySpec, Inputs, Shard, ShardStage, ShardWorker, Split, VideoRecord

if TYPE_CHECKING:
    from pipeline.models.encoders import Encoder
    from pipeline.models.feature_files import FeatureFile


class _FeatureStage(ShardStage):
    """Writes one array (T, D) float16 of raw frame embeddings.

    They are not normalised: ViFi-CLIP averages the raw embeddings of a clip's frames and normalises the mean, which can
    still be done with what is stored.
    """

    version: ClassVar[int] = 1
    costly: ClassVar[bool] = True
    array: ClassVar[str]
    described: ClassVar[str]
    _file: "FeatureFile | None" = None

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._told: Callable[[], dict[str, Any]] = dict

    def settings(self) -> dict[str, Any]:
        """Return the preprocessing and what identifies the weights."""
        from pipeline.models.clip_folder import declared_settings

        if self.config.features.file is not None:
            from pipeline.models.feature_files import file_identity

            return {"file": file_identity(self.config.features.file)}  # no model of ours, nor its preprocessing
        return declared_settings(self.config.features)

    def check(self) -> None:
        """Refuse missing weights and folders that hold no CLIP model before anything is read."""
        self._feature_length()

    @property
    def in_order(self) -> bool:
        """Frames are independent of each other."""
        return False

    def length(self, record: VideoRecord) -> int:
        """Return the number of frames."""
        return record.num_frames

    def arrays(self, record: VideoRecord) -> tuple[ArraySpec, ...]:
        """Declare the array; its width is read from the settings of the model."""
        return (
            ArraySpec(
                name=self.array,
                shape=(record.num_frames, self._feature_length()),
                dtype="float16",
                dimension_names=("time", "feature"),
                description=self.described,
            ),
        )

    def worker(self) -> ShardWorker:
        """Encode, or read what was encoded elsewhere."""
        if self.config.features.file is None:
            return self.encoding_worker()
        source = self._open_file(self.config.features.file)
        return lambda shard, inputs: {self.array: source.read(shard.record, shard.start, shard.stop)}

    @abstractmethod
    def encoding_worker(self) -> ShardWorker:
        """Load the encoder and return the function that makes one shard."""

    def provenance(self) -> dict[str, Any]:
        """Tell device, batch size and precision; or which file the features were read from, and what it says of itself."""
        path = self.config.features.file
        return self._told() if path is None else {"features": self._open_file(path).told()}

    def _open_encoder(self) -> "Encoder":
        from pipeline.models.encoders import open_encoder

        encoder = open_encoder(self.config.features)
        self._told = encoder.provenance
        return encoder

    def _open_file(self, path: Path) -> "FeatureFile":
        from pipeline.models.feature_files import FeatureFile

        if self._file is None:
            self._file = FeatureFile(path, self.name, self.array)
        return self._file

    def _feature_length(self) -> int:
        if self.config.features.file is not None:
            return self._open_file(self.config.features.file).length
        from pipeline.models.clip_folder import encoder_folder, feature_length

        features = self.config.features
        return feature_length(encoder_folder(features.model, features.revision))


class FeaturesNormalStage(_FeatureStage):
    """Writes ``normal`` (T, D) float16: raw embeddings of the frames as they are, for both splits."""

    name: ClassVar[str] = "features-normal"
    upstream: ClassVar[tuple[str, ...]] = ("frames",)
    command: ClassVar[str] = "features"
    array: ClassVar[str] = "normal"
    described: ClassVar[str] = "raw CLIP image embeddings of the frames"

    def encoding_worker(self) -> ShardWorker:
        """Encode every frame."""
        encode = self._open_encoder()

        def make(shard: Shard, inputs: Inputs) -> dict[str, Array]:
            frames_THWC = inputs.read("frames", "frames", shard.record, shard.start, shard.stop)
            return {self.array: encode(frames_THWC).astype(np.float16)}

        return make


class FeaturesStage(_FeatureStage):
    """Writes ``spatial_pa`` (T, D) float16: raw embeddings of the inpainted frames, for the training split.

    Where no object was replaced the frame is the normal one, and so is its embedding, which is read and not made again.
    """

    name: ClassVar[str] = "features"
    upstream: ClassVar[tuple[str, ...]] = ("masks", "inpaint", "features-normal")
    splits: ClassVar[tuple[Split, ...]] = ("train",)
    array: ClassVar[str] = "spatial_pa"
    described: ClassVar[str] = "raw CLIP image embeddings of the frames with one object inpainted"

    def encoding_worker(self) -> ShardWorker:
        """Encode the frames in which something was inpainted."""
        encode = self._open_encoder()

        def make(shard: Shard, inputs: Inputs) -> dict[str, Array]:
            span = shard.record, shard.start, shard.stop
            feature_TD = np.array(inputs.read("features-normal", "normal", *span))
            painted_T = inputs.read("masks", "object", *span) >= 0
            if painted_T.any():
                image_THWC = inputs.read("inpaint", "image", *span)
                feature_TD[painted_T] = encode(image_THWC[painted_T]).astype(np.float16)
            return {self.array: feature_TD}

        return make
