"""Inpainters made of a folder of latent diffusion weights (:mod:`pipeline.models.ldm`), the embedded one among them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pipeline.config import ConfigError, InpaintSettings
from pipeline.models.inpainting_contract import MISSING, Holes, Images, Inpainter, InpainterKind
from pipeline.models.weights import content_identity, model_folder

if TYPE_CHECKING:
    from pipeline.models.ldm import LatentInpainter, Precision

EMBEDDED_NAME = "ldm"
INDEX = "model_index.json"
SCHEDULE = "scheduler/scheduler_config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"  # as diffusers names it
NEEDS = (INDEX, SCHEDULE, "vqvae/config.json", f"vqvae/{WEIGHTS}", "unet/config.json", f"unet/{WEIGHTS}")
CLASS = "LatentInpainting"
"""``_class_name`` in the folder's index."""


class LatentDiffusion(InpainterKind):
    """A VQ autoencoder and a UNet: ``embedded``, or a folder that ``stpa import-weights`` or ``tools/make_ldm.py`` left."""

    reads: ClassVar[tuple[str, ...]] = ("steps", "eta", "seed", "view", "context", "composite")

    def owns(self, settings: InpaintSettings) -> bool:
        """Own whatever no other kind does."""
        return True

    def identity(self, settings: InpaintSettings) -> dict[str, Any]:
        """Return the sha256 of settings and weights; where the folder lies changes no pixel."""
        try:
            found = content_identity(_folder(settings))
        except FileNotFoundError:
            found = MISSING
        name = settings.model if settings.model == "embedded" else "folder"
        return {"model": name, "model_identity": found, "precision": precision(settings)}

    def check(self, settings: InpaintSettings) -> None:
        """Refuse missing files, and a precision that the model has not."""
        _folder(settings)
        if settings.precision == "fp16":
            raise ConfigError("inpaint.precision: expected auto, bf16 or fp32 for the LDM, found fp16; leave it auto")

    def open(self, settings: InpaintSettings) -> Inpainter:
        """Load the weights."""
        from pipeline.models.devices import pick_device
        from pipeline.models.inpainting_windows import WindowInpainter
        from pipeline.models.ldm import load_ldm

        half = cast("Precision", precision(settings))
        model = load_ldm(_folder(settings), device=pick_device(settings.device), precision=half)
        return WindowInpainter(LatentPainter(model, settings), settings)


def precision(settings: InpaintSettings) -> str:
    """Return bf16, or what was asked for.

    It is part of the key, as it changes pixels a little: the same on every machine, whether or not its processor is fast at
    it.
    """
    return "bf16" if settings.precision == "auto" else settings.precision


class LatentPainter:
    """The :class:`pipeline.models.inpainting_windows.Painter` of a latent diffusion model."""

    def __init__(self, model: LatentInpainter, settings: InpaintSettings) -> None:
        from pipeline.models.devices import keep_freed_memory

        if model.device.type == "cpu":
            keep_freed_memory()
        self._model, self._settings = model, settings
        self.size, self.multiple = model.trained_size, model.multiple
        self.always_resized = False

    def paint(self, images_BHWC: Images, masks_BHW: Holes, seeds: Sequence[int]) -> Images:
        """Return pictures of the same size, painted all over."""
        steps, eta = self._settings.steps, self._settings.eta
        return self._model.paint(images_BHWC, masks_BHW, seeds, steps=steps, eta=eta)

    def provenance(self) -> dict[str, Any]:
        """Return where and how it computes."""
        from pipeline.models.devices import describe_device

        return {"device": describe_device(self._model.device), "precision": self._model.precision}


def _folder(settings: InpaintSettings) -> Path:
    return model_folder(settings.model, EMBEDDED_NAME, NEEDS)
