"""How the frames, flow and features were made that a bundle was trained on: what scoring a video of one's own has to repeat.

inputs.json, beside bundle.json: the [frames], [flows] and [features] settings, what identifies the weights in use, and the
rate to which recordings were thinned out.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from pipeline.config import Config, ConfigError, FeaturesSettings, FlowsSettings, FramesSettings
from pipeline.contract import DataError
from pipeline.files import write_json
from pipeline.models.clip_folder import encoder_folder, encoder_identity, pinned
from pipeline.models.feature_files import file_identity
from pipeline.models.flow import NETWORKS
from pipeline.models.flow_weights import weights_identity

NAME = "inputs.json"
FORMAT = 1
FROM_FILE = "file:"
MOVABLE = ("features.model", "features.revision", "features.batch_size", "flows.weights", "flows.batch_size")
"""Settings that may differ from those of the training: where the same weights lie now, how many items are seen at once."""


@dataclass(frozen=True, kw_only=True)
class BundleInputs:
    """The settings of the stages before training, as far as they determine what they write."""

    frames: FramesSettings
    flows: FlowsSettings
    features: FeaturesSettings
    encoder_identity: str
    """Of the encoder's weights (:func:`pipeline.models.clip_folder.encoder_identity`): the same folder may hold others now.
    Of features made elsewhere that of their file, after :data:`FROM_FILE`."""
    flow_identity: str | None
    """Of the flow estimator's weights; None for one that has none."""
    fps: float | None = None
    """Frames per second to which recordings were thinned out (dataset.fps); None: they were taken as they are."""

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Take the settings of a training; FileNotFoundError if the encoder's weights are missing.

        Of a model of the hub the commit is taken, not the branch, which may be another one elsewhere.
        """
        return cls(
            frames=config.frames,
            flows=config.flows,
            features=config.features if config.features.file is not None else pinned(config.features),
            encoder_identity=_encoder_identity(config.features),
            flow_identity=flow_identity(config.flows),
            fps=config.dataset.fps,
        )

    def moved(self, config: Config, names: Iterable[str]) -> Self:
        """Return the same with some settings (of :data:`MOVABLE`) of another configuration."""
        found, wanted = self, set(names)
        if "features.model" in wanted:
            wanted.add("features.revision")  # one of the hub tells nothing of a folder, nor of another model
        for section, _, name in (name.partition(".") for name in sorted(wanted)):
            settings = getattr(found, section)
            change = {name: getattr(getattr(config, section), name)}
            found = replace(found, **{section: settings.model_copy(update=change)})
        return found

    def check_encoder(self) -> None:
        """Raise ConfigError unless the encoder's weights are there and are those of the training."""
        if self.encoder_identity.startswith(FROM_FILE):
            raise ConfigError(
                "the bundle uses an encoder: expected one to encode frames with, found that it was trained on features of a "
                "file (features.file), made elsewhere; train on features of features.model to score video of your own"
            )
        try:
            folder = encoder_folder(self.features.model, self.features.revision)
        except FileNotFoundError as error:
            raise ConfigError(f"the bundle uses an encoder: {error} (--set features.model=FOLDER)") from error
        found = encoder_identity(self.features)
        if found != self.encoder_identity:
            raise ConfigError(
                f"{folder}: expected the encoder that the bundle was trained with ({_short(self.encoder_identity)}), found "
                f"another one ({_short(found)}); name the right folder (--set features.model=FOLDER), or train again"
            )

    def check_flow(self) -> None:
        """Raise ConfigError unless the weights of the flow estimator, if it has any, are those of the training."""
        found = flow_identity(self.flows)
        if found != self.flow_identity:
            raise ConfigError(
                f"flows.weights = {self.flows.weights}: expected the weights that the bundle was trained with "
                f"({self.flow_identity}), found {found}; name the right file (--set flows.weights=FILE), or train again"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the content of inputs.json."""
        settings = {name: getattr(self, name).determining() for name in ("frames", "flows", "features")}
        identities = {"encoder_identity": self.encoder_identity, "flow_identity": self.flow_identity}
        rate = {} if self.fps is None else {"fps": self.fps}
        return {"format": FORMAT, **settings, **identities, **rate}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read the content of inputs.json; ValueError, KeyError or TypeError if it is another."""
        if content["format"] != FORMAT:
            raise ValueError(f"expected format {FORMAT}, found {content['format']!r}")
        return cls(
            frames=FramesSettings.model_validate(content["frames"]),
            flows=FlowsSettings.model_validate(content["flows"]),
            features=FeaturesSettings.model_validate(content["features"]),
            encoder_identity=str(content["encoder_identity"]),
            flow_identity=content.get("flow_identity"),
            fps=content.get("fps"),
        )


def _encoder_identity(settings: FeaturesSettings) -> str:
    if settings.file is not None:
        return f"{FROM_FILE}{file_identity(settings.file)}"
    return encoder_identity(settings)


def _short(identity: str) -> str:
    return identity if "@" in identity else identity[:16]  # a model of the hub at a commit, or a hash


def flow_identity(settings: FlowsSettings) -> str | None:
    """Return what identifies the weights of a flow estimator; None where it has none."""
    return weights_identity(settings) if settings.estimator in NETWORKS else None


def save_inputs(folder: Path, config: Config) -> None:
    """Write inputs.json into the folder of a bundle."""
    write_json(folder / NAME, BundleInputs.from_config(config).to_dict())


def load_inputs(folder: Path) -> BundleInputs:
    """Read inputs.json from the folder of a bundle.

    Raises
    ------
    DataError
        It is missing, as in bundles of earlier versions, or cannot be read.
    """
    path = folder / NAME
    try:
        return BundleInputs.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError(
            f"{path}: expected the settings by which the bundle's inputs were made, found no such file; train again"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        found = " ".join(f"{type(error).__name__}: {error}".split())  # pydantic writes several lines
        raise DataError(
            f"{path}: expected the settings of a bundle's inputs, cannot read them ({found}); train again"
        ) from error
