"""How the frames, flow and features were made that a bundle was trained on: what scoring a video of one's own has to repeat.

inputs.json, beside bundle.json: the [frames], [flows] and [features] settings, and the hash of the encoder's weights.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from pipeline.config import Config, FeaturesSettings, FlowsSettings, FramesSettings
from pipeline.contract import DataError
from pipeline.files import write_json
from pipeline.models.clip_folder import encoder_folder
from pipeline.models.weights import content_identity

NAME = "inputs.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class BundleInputs:
    """The settings of the stages before training, as far as they determine what they write."""

    frames: FramesSettings
    flows: FlowsSettings
    features: FeaturesSettings
    encoder_identity: str
    """Of the encoder's weights (:func:`pipeline.models.weights.content_identity`): the same folder may hold others now."""

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Take the settings of a training; FileNotFoundError if the encoder's weights are missing."""
        return cls(
            frames=config.frames,
            flows=config.flows,
            features=config.features,
            encoder_identity=content_identity(encoder_folder(config.features.model)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the content of inputs.json."""
        settings = {name: getattr(self, name).determining() for name in ("frames", "flows", "features")}
        return {"format": FORMAT, **settings, "encoder_identity": self.encoder_identity}

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
        )


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
