"""Image encoders: one embedding per frame, by the image tower of a CLIP model that ``transformers`` opens."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.utils import logging as transformers_logging

from pipeline.config import ConfigError, FeaturesSettings
from pipeline.models.clip_folder import encoder_folder, feature_length
from pipeline.models.devices import pick_device

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""What ViFi-CLIP normalises with (not OpenAI's values); a folder's preprocessor_config.json may say otherwise."""
SHORT_SIDE = 256 / 224
"""Short side before the centre crop, as a multiple of the crop's."""


class Encoder:
    """Turns frames into raw image embeddings (``image_embeds``), one per frame, on the device that holds the model.

    The embeddings are not normalised: ViFi-CLIP averages the raw embeddings of a clip's frames and normalises the mean.
    """

    def __init__(self, folder: Path, settings: FeaturesSettings) -> None:
        self.length = feature_length(folder)
        self._device = pick_device(settings.device)
        self._batch_size = settings.batch_size
        # A folder may hold both towers; the configuration of the image tower is taken out of it.
        config = CLIPVisionConfig.from_pretrained(folder)
        self._model = _open_model(folder, config).to(self._device).eval()
        self._size = int(self._model.config.image_size)
        self._prepare = letterbox if settings.preprocessing == "letterbox" else centre_crop
        mean_3, std_3 = _normalisation(folder)
        self._mean_3, self._std_3 = (torch.tensor(v, device=self._device) for v in (mean_3, std_3))

    def __call__(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return embeddings (B, ``length``) float32 of images (B, H, W, C) uint8 0..255, C = 1 (grey) or 3 (RGB).

        Raises
        ------
        ValueError
            The array is no batch of grey or RGB images of type uint8.
        """
        if images_BHWC.ndim != 4 or images_BHWC.shape[-1] not in (1, 3) or images_BHWC.dtype != np.uint8:
            raise ValueError(
                f"expected images (B, H, W, 1 or 3) of uint8, found {images_BHWC.shape} of {images_BHWC.dtype}"
            )
        parts = [
            self._encode(images_BHWC[start : start + self._batch_size])
            for start in range(0, len(images_BHWC), self._batch_size)
        ]
        return np.concatenate([np.zeros((0, self.length), np.float32), *parts])

    def _encode(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            image_BCHW = torch.from_numpy(np.ascontiguousarray(images_BHWC)).to(self._device).permute(0, 3, 1, 2)
            grey_or_rgb = image_BCHW.float().div(255).expand(-1, 3, -1, -1)
            pixel_BCHW = self._prepare(grey_or_rgb, self._size, self._mean_3)
            pixel_BCHW = (pixel_BCHW - self._mean_3[:, None, None]) / self._std_3[:, None, None]
            embedding_BD: Tensor = self._model(pixel_values=pixel_BCHW).image_embeds
            return np.asarray(embedding_BD.float().cpu().numpy())


def open_encoder(settings: FeaturesSettings) -> Encoder:
    """Return the encoder that the settings name, ready to use.

    Raises
    ------
    FileNotFoundError
        The folder, its config.json or its model.safetensors is missing.
    ConfigError
        The weights are damaged, or not those of the image tower that config.json describes.
    """
    return Encoder(encoder_folder(settings.model), settings)


def letterbox(image_BCHW: Tensor, size: int, fill_3: Tensor) -> Tensor:
    """Resize the long side to ``size`` (bilinear, antialiased), keep the whole frame, pad both ends alike with a colour.

    Images (B, 3, H, W) float 0..1 become (B, 3, size, size).
    """
    height, width = image_BCHW.shape[2:]
    scale = size / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    padded_BCHW = fill_3[:, None, None].expand(len(image_BCHW), -1, size, size).clone()
    top, left = (size - rows) // 2, (size - columns) // 2
    padded_BCHW[:, :, top : top + rows, left : left + columns] = _resized(image_BCHW, rows, columns)
    return padded_BCHW


def centre_crop(image_BCHW: Tensor, size: int, fill_3: Tensor | None = None) -> Tensor:
    """Resize the short side to 256/224 of ``size`` (bilinear, antialiased) and cut the middle out, as ViFi-CLIP does.

    Images (B, 3, H, W) float 0..1 become (B, 3, size, size); nothing is padded.
    """
    height, width = image_BCHW.shape[2:]
    short = int(SHORT_SIDE * size)
    rows, columns = (short, int(short * width / height)) if height <= width else (int(short * height / width), short)
    top, left = round((rows - size) / 2), round((columns - size) / 2)
    return _resized(image_BCHW, rows, columns)[:, :, top : top + size, left : left + size]


def _resized(image_BCHW: Tensor, rows: int, columns: int) -> Tensor:
    if tuple(image_BCHW.shape[2:]) == (rows, columns):
        return image_BCHW
    return F.interpolate(image_BCHW, (rows, columns), mode="bilinear", align_corners=False, antialias=True)


def _open_model(folder: Path, config: CLIPVisionConfig) -> Any:
    with _quiet():
        try:
            opened: Any = CLIPVisionModelWithProjection.from_pretrained(
                folder, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True
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
    return model


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


def _normalisation(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    path = folder / "preprocessor_config.json"
    facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return tuple(facts.get("image_mean", IMAGENET_MEAN)), tuple(facts.get("image_std", IMAGENET_STD))
