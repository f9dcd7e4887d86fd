"""Image encoders: one embedding per frame, by the image tower of a CLIP or SigLIP model that ``transformers`` opens."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, SiglipVisionConfig, SiglipVisionModel
from transformers.utils import logging as transformers_logging

from pipeline.config import ConfigError, FeaturesSettings
from pipeline.models.clip_folder import (
    encoder_folder,
    encoder_kind,
    feature_length,
    image_size,
    read_preparation,
    weights_variant,
)
from pipeline.models.clip_pictures import PicturePreparer
from pipeline.models.devices import keep_freed_memory, pick_device

_MODELS: dict[str, tuple[Any, Any, str]] = {
    "clip": (CLIPVisionConfig, CLIPVisionModelWithProjection, "image_embeds"),
    "siglip": (SiglipVisionConfig, SiglipVisionModel, "pooler_output"),
}
"""Kind -> configuration, model, and what of its answer is the embedding."""
_TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Encoder:
    """Turns frames into raw image embeddings (``image_embeds``), one per frame, on the device that holds the model.

    The embeddings are not normalised: ViFi-CLIP averages the raw embeddings of a clip's frames and normalises the mean.
    """

    def __init__(self, folder: Path, settings: FeaturesSettings) -> None:
        self.length = feature_length(folder)
        self._device = pick_device(settings.device)
        if self._device.type == "cpu":
            keep_freed_memory()
        self._batch_size = settings.batch_size
        self._type = pick_type(settings.precision, self._device)
        self._variant = weights_variant(folder)
        self._model, self._answer = _open_model(folder)
        self._model.to(self._device, self._type).eval()
        self._prepare = PicturePreparer(
            read_preparation(folder),
            image_size(folder),
            keep_all=settings.preprocessing == "letterbox",
            device=self._device,
            dtype=self._type,
        )

    def provenance(self) -> dict[str, Any]:
        """Return what no key holds of how features are made (plain JSON)."""
        precision = next(name for name, dtype in _TYPES.items() if dtype == self._type)
        half = {"variant": self._variant} if self._variant else {}
        return {"device": str(self._device), "batch_size": self._batch_size, "precision": precision, **half}

    def __call__(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return embeddings (B, ``length``) float32 of images (B, H, W, C) uint8 0..255, C = 1 (grey) or 3 (RGB).

        Raises
        ------
        ValueError
            The array is no batch of grey or RGB images of type uint8.
        """
        if images_BHWC.ndim != 4 or images_BHWC.shape[-1] not in (1, 3) or images_BHWC.dtype != np.uint8:
            raise ValueError(f"expected images (B, H, W, 1 or 3) of uint8, found {images_BHWC.shape} of {images_BHWC.dtype}")
        parts = [
            self._encode(images_BHWC[start : start + self._batch_size])
            for start in range(0, len(images_BHWC), self._batch_size)
        ]
        return np.concatenate([np.zeros((0, self.length), np.float32), *parts])

    def _encode(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            embedding_BD: Tensor = getattr(self._model(pixel_values=self._prepare(images_BHWC)), self._answer)
            return np.asarray(embedding_BD.float().cpu().numpy())


def pick_type(precision: str, device: torch.device) -> torch.dtype:
    """Return the type of a ``precision`` setting; auto = half precision on a GPU."""
    if precision == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    return _TYPES[precision]


def open_encoder(settings: FeaturesSettings) -> Encoder:
    """Return the encoder that the settings name, ready to use.

    Raises
    ------
    FileNotFoundError
        The folder, its config.json or its model.safetensors is missing, or the model of the hub was not fetched.
    ConfigError
        The weights are damaged, or not those of the image tower that config.json describes.
    """
    return Encoder(encoder_folder(settings.model, settings.revision), settings)


def _open_model(folder: Path) -> tuple[Any, str]:
    """Return the image tower in fp32, and which of its answers is the embedding; code in the folder is never run."""
    configuration, architecture, answer = _MODELS[encoder_kind(folder)]
    # A folder may hold both towers; the configuration of the image tower is taken out of it.
    config = configuration.from_pretrained(folder)
    with _quiet():
        try:
            opened: Any = architecture.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                variant=weights_variant(folder),
            )
        except (SafetensorError, RuntimeError) as error:
            raise ConfigError(
                f"{folder / 'model.safetensors'}: expected weights that fit config.json, found {error}; "
                "copy, import or make the model again"
            ) from error
    model, report = opened
    missing = sorted(report["missing_keys"])
    if missing:
        raise ConfigError(
            f"{folder / 'model.safetensors'}: expected all weights of the image tower that config.json describes, "
            f"found {len(missing)} missing, such as {missing[0]}; copy, import or make the model again"
        )
    return model, answer


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from reporting a text tower in the same file, which is meant to be left out."""
    logging: Any = transformers_logging  # untyped
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.ERROR)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
