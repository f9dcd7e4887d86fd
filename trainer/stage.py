"""The train stage: artifacts of the training split in, a model bundle out."""

from pathlib import Path
from typing import Any, ClassVar

from pipeline.config import ConfigError
from pipeline.contract import FolderStage, Inputs, Report, Split


class TrainStage(FolderStage):
    """Fits the two autoencoders and the discriminator, and calibrates them on normal training windows."""

    name = "train"
    version = 3
    upstream = ("frames", "flows", "masks", "inpaint", "features-normal", "features")
    splits: ClassVar[tuple[Split, ...]] = ("train",)
    costly = True

    def settings(self) -> dict[str, Any]:
        """Return the [train] section."""
        return self.config.train.determining()

    def check(self) -> None:
        """Raise ConfigError for settings that would fail only after hours of other work."""
        from trainer.devices import pick_device
        from trainer.pseudo_anomalies import make_pseudo_anomalies

        try:
            pick_device(self.config.train.device)
        except ValueError as error:
            raise ConfigError(f"train.{error}") from error
        make_pseudo_anomalies(self.config.train)
        if self.config.train.colour == "rgb" and self.config.frames.colour == "grey":
            raise ConfigError("train.colour = rgb needs frames.colour = rgb, found grey")
        side, size = 16 * self.config.train.reduce, (self.config.frames.height, self.config.frames.width)
        if any(length % side for length in size):
            raise ConfigError(
                f"train.reduce = {self.config.train.reduce}: expected frames.height and frames.width to be multiples of "
                f"{side}, found {size[0]} x {size[1]}"
            )

    def run(self, inputs: Inputs, out: Path, report: Report) -> None:
        """Write the bundle."""
        from trainer.bundle import save_bundle
        from trainer.inputs import save_inputs
        from trainer.training import train

        save_bundle(out, train(inputs, self.config.train, report))
        save_inputs(out, self.config)
