"""The eval stage: model bundle and artifacts of the test split in; scores, metrics, a table and a picture out."""

from pathlib import Path
from typing import Any, ClassVar

from pipeline.config import ConfigError
from pipeline.contract import DataError, FolderStage, Inputs, Report, Split


class EvalStage(FolderStage):
    """Scores every test frame, compares the scores with the labels and with trivial baselines, and shows them."""

    name = "eval"
    version = 6
    upstream = ("frames", "flows", "features-normal", "train")
    splits: ClassVar[tuple[Split, ...]] = ("test",)
    needs_labels = True

    def settings(self) -> dict[str, Any]:
        """Return the [eval] section."""
        return self.config.eval.determining()

    def check(self) -> None:
        """Raise ConfigError for a device that is not there."""
        from trainer.devices import pick_device

        try:
            pick_device(self.config.eval.device)
        except ValueError as error:
            raise ConfigError(f"eval.{error}") from error

    def run(self, inputs: Inputs, out: Path, report: Report) -> None:
        """Write ``scores.zarr``, ``maps.zarr``, ``regions``, ``metrics.json``, ``table.txt`` and ``picture.png``."""
        from scoring.detectors import choose_detector
        from scoring.evaluate import evaluate
        from trainer.bundle import BundleError, load_bundle
        from trainer.devices import pick_device

        try:
            bundle = load_bundle(inputs.folder("train"), pick_device(self.config.eval.device))
        except BundleError as error:  # its receipt says that it was whole: files were lost or changed since
            raise DataError(f"{error} (stpa train --force)") from error
        origin = {
            "artifact": out.parent.name,  # eval-<key>; the runner lets a stage write beside nothing but its artifact
            "model": inputs.folder("train").parent.name,
            "seed": bundle.info.settings.seed,
            "device": str(bundle.device),
        }
        evaluate(choose_detector(bundle, self.config.eval), inputs, self.config, out, report, origin)
