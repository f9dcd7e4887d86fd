"""Inpainters behind one small interface: pictures and holes in, pictures without holes out. Imports no torch by itself."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.config import InpaintSettings
from pipeline.models.weights import content_identity, model_folder

EMBEDDED_NAME = "ldm"
INDEX = "model_index.json"
SCHEDULE = "scheduler/scheduler_config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"  # as diffusers names it
NEEDS = (INDEX, SCHEDULE, "vqvae/config.json", f"vqvae/{WEIGHTS}", "unet/config.json", f"unet/{WEIGHTS}")
PRECISION: Literal["bf16", "fp32"] = "bf16"
"""Part of the key, as it changes pixels a little: the same on every machine, whether or not its processor is fast at it."""
CONTEXT = 16
"""Pixels of the surroundings that the model sees on each side of a hole, at least, where the picture has them."""
Window = tuple[slice, slice]
"""Rows and columns."""


class Inpainter(Protocol):
    """Repaints regions of pictures."""

    def __call__(
        self, images_BHWC: NDArray[np.uint8], masks_BHW: NDArray[np.bool_], seeds: Sequence[int]
    ) -> NDArray[np.uint8]:
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


class LatentInpaintings:
    """The :class:`Inpainter` of a folder of latent diffusion weights (see :mod:`pipeline.models.ldm`)."""

    def __init__(self, folder: Path, settings: InpaintSettings) -> None:
        from pipeline.models.devices import pick_device
        from pipeline.models.ldm import load_ldm

        self._model = load_ldm(folder, device=pick_device(settings.device), precision=PRECISION)
        self._settings = settings

    def __call__(
        self, images_BHWC: NDArray[np.uint8], masks_BHW: NDArray[np.bool_], seeds: Sequence[int]
    ) -> NDArray[np.uint8]:
        """Paint ``batch_size`` pictures of one size at once; see :class:`Inpainter`."""
        check_batch(images_BHWC, masks_BHW, seeds)
        painted_BHWC = images_BHWC.copy()
        windows = [self._window(mask_HW) for mask_HW in masks_BHW]
        for rows in _of_one_size(windows, self._settings.batch_size):
            parts = [(row, *windows[row]) for row in rows]
            part_BHWC = np.stack([images_BHWC[part] for part in parts])
            hole_BHW = np.stack([masks_BHW[part] for part in parts])
            made_BHWC = self._model.paint(
                part_BHWC, hole_BHW, [seeds[row] for row in rows], steps=self._settings.steps, eta=self._settings.eta
            )
            grey_B = (part_BHWC == part_BHWC[..., :1]).all(axis=(1, 2, 3))
            made_BHWC[grey_B] = without_colour(made_BHWC[grey_B])
            if self._settings.composite:
                made_BHWC = np.where(hole_BHW[..., None], made_BHWC, part_BHWC)
            for part, made_HWC in zip(parts, made_BHWC, strict=True):
                painted_BHWC[part] = made_HWC
        return painted_BHWC

    def _window(self, mask_HW: NDArray[np.bool_]) -> Window:
        if self._settings.view == "frame":
            return slice(0, mask_HW.shape[0]), slice(0, mask_HW.shape[1])
        return window_around(mask_HW, self._model.trained_size, self._model.multiple)


def window_around(mask_HW: NDArray[np.bool_], smallest: int, multiple: int) -> Window:
    """Return rows and columns of a square around the hole, cut to the picture.

    Its side is ``smallest``, or the next multiple of ``multiple`` that leaves :data:`CONTEXT` pixels around the hole. A
    picture without a hole is its own window.
    """
    extents = [np.flatnonzero(mask_HW.any(axis=axis)) for axis in (1, 0)]
    if not len(extents[0]):
        return slice(0, mask_HW.shape[0]), slice(0, mask_HW.shape[1])
    longest = max(int(extent[-1] - extent[0]) + 1 for extent in extents)
    side = max(smallest, -(-(longest + 2 * CONTEXT) // multiple) * multiple)
    rows, columns = (
        _span(int(extent[0] + extent[-1] + 1) // 2, side, length)
        for extent, length in zip(extents, mask_HW.shape, strict=True)
    )
    return rows, columns


def _span(middle: int, side: int, length: int) -> slice:
    size = min(side, length)
    start = min(max(middle - size // 2, 0), length - size)
    return slice(start, start + size)


def _of_one_size(windows: Sequence[Window], most: int) -> Iterator[list[int]]:
    """Yield the numbers of windows of equal height and width, at most ``most`` at once."""
    groups: dict[tuple[int, int], list[int]] = {}
    for number, (rows, columns) in enumerate(windows):
        groups.setdefault((rows.stop - rows.start, columns.stop - columns.start), []).append(number)
    for numbers in groups.values():
        for start in range(0, len(numbers), most):
            yield numbers[start : start + most]


def without_colour(images_BHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (B, H, W, 3) uint8 with three channels of the luminance (ITU-R BT.601) of ``images_BHWC``."""
    luminance_BHW = images_BHWC @ np.array([0.299, 0.587, 0.114])
    return np.repeat(luminance_BHW.round().astype(np.uint8)[..., None], 3, axis=-1)


def check_batch(images_BHWC: NDArray[np.uint8], masks_BHW: NDArray[np.bool_], seeds: Sequence[int]) -> None:
    """Refuse a batch that breaks the contract of :class:`Inpainter`; raises ValueError."""
    if images_BHWC.dtype != np.uint8 or images_BHWC.ndim != 4 or images_BHWC.shape[-1] != 3:
        raise ValueError(f"expected images (B, H, W, 3) uint8, found {images_BHWC.shape} {images_BHWC.dtype}")
    if masks_BHW.dtype != np.bool_ or masks_BHW.shape != images_BHWC.shape[:3]:
        raise ValueError(
            f"expected masks {images_BHWC.shape[:3]} bool for these images, found {masks_BHW.shape} {masks_BHW.dtype}"
        )
    if len(seeds) != len(images_BHWC):
        raise ValueError(f"expected one seed for each of {len(images_BHWC)} images, found {len(seeds)}")


def inpainter_folder(settings: InpaintSettings) -> Path:
    """Return the folder of the weights; raises FileNotFoundError, with the remedy, if a file is missing."""
    return model_folder(settings.model, EMBEDDED_NAME, NEEDS)


def inpainter_identity(settings: InpaintSettings) -> str:
    """Return the sha256 (hex) of settings and weights of the model, or ``missing``: such a key is never painted."""
    try:
        return content_identity(inpainter_folder(settings))
    except FileNotFoundError:
        return "missing"


def open_inpainter(settings: InpaintSettings) -> Inpainter:
    """Return the inpainter that the settings name, ready to use on their device.

    Raises
    ------
    FileNotFoundError
        The folder, or a file in it, is missing.
    ValueError
        The folder holds another kind of model, damaged weights, or the device is none.
    """
    return LatentInpaintings(inpainter_folder(settings), settings)


def frame_seed(dataset: str, video: str, frame: int, seed: int) -> int:
    """Return the seed (63 bits) of one frame: the same in every run, machine, batch and order."""
    text = "\0".join((dataset, video, str(frame), str(seed)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
