"""What can be said of a CLIP folder without loading torch: where it is, and how long its embeddings are."""

import json
from pathlib import Path

from pipeline.config import ConfigError
from pipeline.models.weights import model_folder

DEFAULT_LENGTH = 512  # what transformers takes where config.json leaves projection_dim out


def encoder_folder(model: str) -> Path:
    """Return the folder of ``features.model``, of which the settings and the weights were found to be there.

    Raises
    ------
    FileNotFoundError
        The folder, its config.json or its model.safetensors is missing.
    """
    return model_folder(model, "vifi_clip", ("config.json", "model.safetensors"))


def feature_length(folder: Path) -> int:
    """Return D, the length of the embeddings that the image tower in ``folder`` makes, from its config.json.

    Raises
    ------
    ConfigError
        config.json is no JSON object, or describes no CLIP model.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        # A folder of both towers nests the settings of the image tower, a folder of that tower alone does not.
        tower = config.get("vision_config", config)
        if str(config["model_type"]).startswith("clip"):
            return int(tower.get("projection_dim", DEFAULT_LENGTH))
        found = f"model_type {config['model_type']!r}"
    except (ValueError, KeyError, TypeError, AttributeError):
        found = "none"
    raise ConfigError(
        f"{path}: expected the settings of a CLIP model (model_type clip or clip_vision_model), found {found}; "
        "features.model must name a folder that CLIPVisionModelWithProjection.from_pretrained opens"
    )
