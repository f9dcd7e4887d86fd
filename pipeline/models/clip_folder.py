"""What can be said of an image encoder without loading torch: where it is, how long its embeddings are, what it expects."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pipeline.config import ConfigError, FeaturesSettings
from pipeline.models.hub import HubModel, find_hub_model, is_hub_id
from pipeline.models.variants import HALF, has_weights, listed_files
from pipeline.models.weights import content_identity, model_folder

SETTING = "features.model"
SETTINGS, WEIGHTS, PREPROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
SHARDED = "model.safetensors.index.json"
"""Lists the parts of weights that were saved in several files."""
WANTED = ("*.json", "model*.safetensors")
"""What is fetched of a repository: many hold the same weights in other forms as well, pickles among them."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""What ViFi-CLIP normalises with (not OpenAI's values); a folder's preprocessor_config.json may say otherwise."""
BILINEAR, BICUBIC = 2, 3
"""How preprocessor_config.json counts ways of resizing, after PIL."""
_DEFAULTS = {  # model_type of the image tower -> what transformers takes where config.json leaves these out
    "clip": {"projection_dim": 512, "image_size": 224},
    "siglip": {"hidden_size": 768, "image_size": 224},
}


def encoder_folder(model: str, revision: str = "") -> Path:
    """Return the folder of ``features.model``, of which the settings and the weights were found to be there.

    Raises
    ------
    FileNotFoundError
        The folder, its config.json or its model.safetensors is missing; of a model of the hub the command that fetches it is
        named.
    """
    hub = _hub_model(model, revision)
    if hub is not None:
        # Without it nobody knows by what pictures are normalised: a guess would give other embeddings without a word.
        return hub.require([SETTINGS, *_missing_weights(hub.folder), PREPROCESSOR])
    folder = model_folder(model, "vifi_clip", (SETTINGS,))
    return model_folder(model, "vifi_clip", _missing_weights(folder))


def _missing_weights(folder: Path) -> list[str]:
    """Return what a folder lacks that has weights neither whole nor of half precision, in one file or several."""
    if any(has_weights(folder, (WEIGHTS,), (SHARDED,), variant) for variant in ("", HALF)):
        return []
    return [name for name in listed_files(folder, (SHARDED,)) if not (folder / name).is_file()] or [WEIGHTS]


def weights_variant(folder: Path) -> str | None:
    """Return fp16 if the weights in a folder are there in half precision alone; else None, as the library wants it."""
    if has_weights(folder, (WEIGHTS,), (SHARDED,)):
        return None
    return HALF if has_weights(folder, (WEIGHTS,), (SHARDED,), HALF) else None


def encoder_identity(settings: FeaturesSettings) -> str:
    """Return what identifies the weights, part of the key: the content of a folder, or id and commit on the hub.

    Of a model of the hub that is here in half precision alone, this is said too: elsewhere it may lie there whole.
    """
    hub = _hub_model(settings.model, settings.revision)
    if hub is None:
        return content_identity(encoder_folder(settings.model))
    variant = weights_variant(hub.folder)
    return f"{hub.identity}/{variant}" if variant else hub.identity


def pinned(settings: FeaturesSettings) -> FeaturesSettings:
    """Return the same settings with the commit that a branch or tag of the hub means on this machine."""
    hub = _hub_model(settings.model, settings.revision)
    return settings if hub is None else settings.model_copy(update={"revision": hub.commit})


def declared_settings(settings: FeaturesSettings) -> dict[str, Any]:
    """Return what determines the features, as plain JSON values.

    How a folder of one's own wants pictures to be resized is told where it is not ViFi-CLIP's way; of a model of the hub its
    commit decides that.
    """
    told = {**settings.determining(), "model": encoder_identity(settings)}
    told.pop("revision", None)
    if _hub_model(settings.model, settings.revision) is None:
        folder = encoder_folder(settings.model)
        told.update(read_preparation(folder).unlike_vifi_clip(image_size(folder)))
    return told


def _hub_model(model: str, revision: str) -> HubModel | None:
    if not is_hub_id(model, revision, setting=SETTING):
        return None
    return find_hub_model(model, revision, setting=SETTING, include=WANTED)


def encoder_kind(folder: Path) -> str:
    """Return clip or siglip, by the config.json of a folder.

    Raises
    ------
    ConfigError
        config.json is no JSON object, or describes another model.
    """
    return _tower(folder)[0]


def feature_length(folder: Path) -> int:
    """Return D, the length of the embeddings that the image tower in ``folder`` makes; see :func:`encoder_kind`."""
    kind, tower = _tower(folder)
    name = "projection_dim" if kind == "clip" else "hidden_size"  # SigLIP's image tower ends in a pool, not a projection
    return int(tower.get(name, _DEFAULTS[kind][name]))


def image_size(folder: Path) -> int:
    """Return the side in pixels of the square pictures that the image tower sees; see :func:`encoder_kind`."""
    kind, tower = _tower(folder)
    return int(tower.get("image_size", _DEFAULTS[kind]["image_size"]))


def _tower(folder: Path) -> tuple[str, Mapping[str, Any]]:
    """Return the kind of model and the settings of its image tower."""
    path = folder / SETTINGS
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        # A folder of both towers nests the settings of the image tower, a folder of that tower alone does not.
        tower = config.get("vision_config", config)
        kind = re.fullmatch(r"(clip|siglip)(_.*)?", str(config["model_type"]))
        if kind is not None and isinstance(tower, dict):
            return kind[1], tower
        found = f"model_type {config['model_type']!r}"
    except (ValueError, KeyError, TypeError, AttributeError):
        found = "none"
    raise ConfigError(
        f"{path}: expected the settings of a CLIP model (model_type clip or clip_vision_model; siglip or "
        f"siglip_vision_model), found {found}; features.model must name a folder or a model of the hub that "
        "CLIPVisionModelWithProjection or SiglipVisionModel opens"
    )


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What preprocessor_config.json says of pictures: by what they are normalised, and how they are resized."""

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    short_side: int | None = None
    """Pixels of the short side before the centre crop; none = ViFi-CLIP's 256/224 of the crop's."""
    squash: bool = False
    """The model's own way is no crop: the whole picture becomes a square, as SigLIP's."""
    bicubic: bool = False
    """Bicubic instead of bilinear."""

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Self:
        """Read the content of preprocessor_config.json; KeyError, TypeError or ValueError if it is another."""
        size = facts.get("size")
        short = size.get("shortest_edge") if isinstance(size, dict) else size  # older files have a number
        mean, std = (
            tuple(map(float, facts.get(name, usual)))
            for name, usual in (("image_mean", IMAGENET_MEAN), ("image_std", IMAGENET_STD))
        )
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"image_mean and image_std: expected 3 numbers each, found {mean} and {std}")
        if (resample := int(facts.get("resample", BILINEAR))) not in (BILINEAR, BICUBIC):
            raise ValueError(f"resample: expected 2 (bilinear) or 3 (bicubic), found {resample}")
        squash = isinstance(size, dict) and "height" in size and not facts.get("do_center_crop", False)
        short_side = None if short is None else int(short)
        return cls(mean=mean, std=std, short_side=short_side, squash=squash, bicubic=resample == BICUBIC)

    def short_side_for(self, size: int) -> int:
        """Return the pixels of the short side before a square of ``size`` is cut out."""
        return 256 * size // 224 if self.short_side is None else self.short_side

    def unlike_vifi_clip(self, size: int) -> dict[str, Any]:
        """Return what differs from ViFi-CLIP's way of resizing to ``size``, for keys; nothing if nothing does."""
        told: dict[str, Any] = {}
        if self.short_side_for(size) != 256 * size // 224:
            told["short_side"] = self.short_side
        if self.squash:
            told["squash"] = True
        if self.bicubic:
            told["resample"] = "bicubic"
        return told


def read_preparation(folder: Path) -> Preparation:
    """Return what a folder says of pictures; ViFi-CLIP's ways where it says nothing.

    Raises
    ------
    ConfigError
        Its preprocessor_config.json cannot be read, or wants what is not done here.
    """
    path = folder / PREPROCESSOR
    try:
        facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        found = Preparation.from_dict(facts)
        if not found.squash and found.short_side_for(image_size(folder)) < image_size(folder):
            raise ValueError(f"size: expected at least the {image_size(folder)} pixels of config.json")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: expected the settings of a CLIP image processor, found {error!r}") from error
    return found
