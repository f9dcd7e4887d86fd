"""Classical inpainting as a control: the hole is closed from its rim inwards. Nothing was learnt and nothing is drawn."""

from collections.abc import Sequence
from typing import Any, ClassVar

import cv2
import numpy as np

from pipeline.config import ConfigError, InpaintSettings
from pipeline.models.inpainting_contract import Holes, Images, Inpainter, InpainterKind, check_batch, grey_pictures

METHODS = {
    "opencv-telea": cv2.INPAINT_TELEA,  # Telea, Journal of Graphics Tools 2004: marches inwards, weighted means
    "opencv-ns": cv2.INPAINT_NS,  # Bertalmio et al., CVPR 2001: continues lines of equal brightness, as a fluid flows
}


class Classical(InpainterKind):
    """``cv2.inpaint``, by the names of :data:`METHODS`."""

    reads: ClassVar[tuple[str, ...]] = ("model", "radius")

    def owns(self, settings: InpaintSettings) -> bool:
        """Say whether the name begins as all of these do."""
        return settings.model.startswith("opencv-")

    def identity(self, settings: InpaintSettings) -> dict[str, Any]:
        """Return nothing: the name says it all."""
        return {}

    def check(self, settings: InpaintSettings) -> None:
        """Refuse other names, and settings that cannot be meant."""
        if settings.model not in METHODS:
            raise ConfigError(f"inpaint.model: expected one of {', '.join(METHODS)}, found {settings.model!r}")
        if settings.revision:
            raise ConfigError(f"inpaint.revision = {settings.revision!r}: {settings.model} has none; leave it out")
        if not settings.composite:
            raise ConfigError(f"inpaint.composite = false: {settings.model} changes nothing outside the mask; leave it true")

    def open(self, settings: InpaintSettings) -> Inpainter:
        """Return the inpainter."""
        return ClassicalInpainter(settings.model, settings.radius)


class ClassicalInpainter:
    """The :class:`Inpainter` of one method; seeds change nothing."""

    def __init__(self, method: str, radius: float) -> None:
        self._flag, self._radius = METHODS[method], radius

    def __call__(self, images_BHWC: Images, masks_BHW: Holes, seeds: Sequence[int]) -> Images:
        """Paint one picture after the other; see :class:`Inpainter`."""
        check_batch(images_BHWC, masks_BHW, seeds)
        painted_BHWC = images_BHWC.copy()
        for i, grey in enumerate(grey_pictures(images_BHWC)):
            image_HWC = np.ascontiguousarray(images_BHWC[i, ..., :1] if grey else images_BHWC[i])
            made = cv2.inpaint(image_HWC, masks_BHW[i].astype(np.uint8), self._radius, self._flag)
            painted_BHWC[i] = made[..., None] if grey else made
        return painted_BHWC

    def provenance(self) -> dict[str, Any]:
        """Return where it computes."""
        return {"device": "cpu", "opencv": cv2.__version__}
