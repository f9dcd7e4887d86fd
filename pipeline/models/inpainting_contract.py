"""What every inpainter is, and what a kind of inpainter tells of its models. Imports no torch."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.config import InpaintSettings

Images = NDArray[np.uint8]
Holes = NDArray[np.bool_]
MISSING = "missing"
"""Stands for what identifies a model that is not here: nothing is ever painted under such a key."""


class Inpainter(Protocol):
    """Repaints regions of pictures."""

    def __call__(self, images_BHWC: Images, masks_BHW: Holes, seeds: Sequence[int]) -> Images:
        """Return pictures (B, H, W, 3) uint8 RGB 0..255; grey pictures (three equal channels) stay grey.

        Parameters
        ----------
        images_BHWC
            (B, H, W, 3) uint8 RGB 0..255, H and W multiples of 16.
        masks_BHW
            (B, H, W) bool, True = repaint.
        seeds
            One per picture: its random stream does not depend on its neighbours in the batch.

        Raises
        ------
        ValueError
            Shapes or types are others than these.
        """

    def provenance(self) -> dict[str, Any]:
        """Return what a receipt records and no key holds: device, precision, pictures at once (plain JSON)."""


class InpainterKind(ABC):
    """A kind of inpainter: which models are of it, what identifies one, how one is opened."""

    reads: ClassVar[tuple[str, ...]]
    """The settings that determine what is painted, by name; they are in the key."""

    @abstractmethod
    def owns(self, settings: InpaintSettings) -> bool:
        """Say whether ``settings.model`` is of this kind; looks at names and at most at a small file."""

    @abstractmethod
    def identity(self, settings: InpaintSettings) -> dict[str, Any]:
        """Return what else determines what is painted, such as the hash of the weights (plain JSON); loads no torch.

        A model that is not here has :data:`MISSING` in the place of its hash: ``stpa status`` must be able to speak of it.
        """

    @abstractmethod
    def check(self, settings: InpaintSettings) -> None:
        """Raise FileNotFoundError or ConfigError, with the remedy, if it cannot be opened; before anything costly."""

    @abstractmethod
    def open(self, settings: InpaintSettings) -> Inpainter:
        """Return the inpainter, ready to paint on its device."""


def check_batch(images_BHWC: Images, masks_BHW: Holes, seeds: Sequence[int]) -> None:
    """Refuse a batch that breaks the contract of :class:`Inpainter`; raises ValueError."""
    if images_BHWC.dtype != np.uint8 or images_BHWC.ndim != 4 or images_BHWC.shape[-1] != 3:
        raise ValueError(f"expected images (B, H, W, 3) uint8, found {images_BHWC.shape} {images_BHWC.dtype}")
    if masks_BHW.dtype != np.bool_ or masks_BHW.shape != images_BHWC.shape[:3]:
        raise ValueError(
            f"expected masks {images_BHWC.shape[:3]} bool for these images, found {masks_BHW.shape} {masks_BHW.dtype}"
        )
    if len(seeds) != len(images_BHWC):
        raise ValueError(f"expected one seed for each of {len(images_BHWC)} images, found {len(seeds)}")


def grey_pictures(images_BHWC: Images) -> NDArray[np.bool_]:
    """Return (B,) which pictures have three equal channels."""
    return np.asarray((images_BHWC == images_BHWC[..., :1]).all(axis=(1, 2, 3)))
