"""The train stage: artifacts of the training split in, a model bundle out."""

from pathlib import Path
from typing import Any, ClassVar

from pipeline.config import ConfigError
from pipeline.contract import Aside, Inputs, Report, ResumableStage, Split


class TrainStage(ResumableStage):
    """Fits all networks, and calibrates them on normal training windows."""

    name = "train"
    version = 7
    upstream = ("frames", "flows", "masks", "inpaint", "features-normal", "features")
    splits: ClassVar[tuple[Split, ...]] = ("train",)
    costly = True

    def settings(self) -> dict[str, Any]:
        """Return the [train] section."""
        return self.config.train.determining()

    def check(self) -> None:
        """Raise ConfigError for settings that would fail only after hours of other work."""
        from trainer.devices import pick_devices
        from trainer.pseudo_anomalies import make_pseudo_anomalies

        try:
            pick_devices(self.config.train.device)
        except ValueError as error:
            raise ConfigError(f"train.{error}") from error
        make_pseudo_anomalies(self.config.train)
        if self.config.train.colour == "rgb" and self.config.frames.colour == "grey":
            raise ConfigError("train.colour = rgb needs frames.colour = rgb, found grey")
        reduced = {"reduce": self.config.train.reduce}
        if self.config.train.motion_epochs:
            reduced["motion_reduce"] = self.config.train.motion_reduce
        size = (self.config.frames.height, self.config.frames.width)
        for name, factor in reduced.items():
            if any(length % (16 * factor) for length in size):
                raise ConfigError(
                    f"train.{name} = {factor}: expected frames.height and frames.width to be multiples of "
                    f"{16 * factor}, found {size[0]} x {size[1]}"
                )

    def resume(self, inputs: Inputs, out: Path, report: Report, aside: Aside) -> None:
        """Write the bundle, a model card and pictures of what was learnt; of several processes the first one does."""
        from trainer.bundle import save_bundle
        from trainer.card import write_card
        from trainer.inputs import save_inputs
        from trainer.pictures import as_png, draw_learnt
        from trainer.training import fit_networks, make_bundle

        settings = self.config.train
        networks = fit_networks(inputs, settings, report, aside)
        if networks is None:
            return
        bundle = make_bundle(networks, inputs, settings, report)
        save_bundle(out, bundle)
        save_inputs(out, self.config)
        for name, signal in networks.fitted.signals.items():
            network = networks.fitted.fits[name].network
            picture = draw_learnt(network, signal, networks.fitted.data[name], settings)
            (out / f"{name}.png").write_bytes(as_png(picture))
        write_card(out, bundle, inputs.videos("train"), self.config)
