"""From pictures with holes to what a model paints, and back: windows, sizes, batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import torch

from pipeline.config import InpaintSettings
from pipeline.models.inpainting_contract import Holes, Images, check_batch, grey_pictures

Window = tuple[slice, slice]
"""Rows and columns."""


class Painter(Protocol):
    """A model that paints a batch of pictures of one size."""

    size: int
    """Short side of the pictures that suit it, in pixels."""
    multiple: int
    """Sides that it is given when pictures are resized for it are multiples of this."""
    always_resized: bool
    """True: every window is brought to ``size``; False: only where ``inpaint.view`` is zoom."""

    def paint(self, images_BHWC: Images, masks_BHW: Holes, seeds: Sequence[int]) -> Images:
        """Return pictures (B, H, W, 3) uint8 RGB of the same size; what lies outside the masks is not looked at later."""

    def provenance(self) -> dict[str, Any]:
        """Return where and how it computes."""


@dataclass(frozen=True)
class Piece:
    """The part of a picture that a model sees, and the size at which it does."""

    window: Window
    height: int
    width: int


class WindowInpainter:
    """The :class:`pipeline.models.inpainting_contract.Inpainter` around a :class:`Painter`.

    Pieces of equal size are painted together, at most ``batch_size`` at once. Where a GPU has no memory for so many, half of
    them are tried, then half of that, and no more are from then on.
    """

    def __init__(self, painter: Painter, settings: InpaintSettings) -> None:
        self._painter, self._settings = painter, settings
        self._at_once = settings.batch_size

    def __call__(self, images_BHWC: Images, masks_BHW: Holes, seeds: Sequence[int]) -> Images:
        """Paint; see :class:`pipeline.models.inpainting_contract.Inpainter`. Grey pictures get grey fills."""
        check_batch(images_BHWC, masks_BHW, seeds)
        painted_BHWC = images_BHWC.copy()
        pieces = [self._piece(mask_HW) for mask_HW in masks_BHW]
        for waiting in _of_one_size(pieces):
            while waiting:
                rows = waiting[: self._at_once]
                made = self._paint([pieces[row] for row in rows], rows, images_BHWC, masks_BHW, seeds)
                if made is None:
                    continue
                for row, made_HWC in zip(rows, made, strict=True):
                    painted_BHWC[row, *pieces[row].window] = made_HWC
                waiting = waiting[len(rows) :]
        return painted_BHWC

    def provenance(self) -> dict[str, Any]:
        """Return where and how it computes, and how many pictures at once."""
        asked = self._settings.batch_size
        halved = {} if self._at_once == asked else {"batch_size_without_memory": asked}
        return {**self._painter.provenance(), "batch_size": self._at_once, **halved}

    def _piece(self, mask_HW: Holes) -> Piece:
        settings, painter = self._settings, self._painter
        if settings.view == "frame":
            window = (slice(0, mask_HW.shape[0]), slice(0, mask_HW.shape[1]))
        elif settings.view == "zoom":
            window = window_around(mask_HW, smallest=1, multiple=1, context=settings.context)
        else:
            window = window_around(mask_HW, painter.size, painter.multiple, settings.context)
        height, width = (span.stop - span.start for span in window)
        if painter.always_resized or settings.view == "zoom":
            scale = painter.size / min(height, width) / painter.multiple
            height, width = (max(1, round(side * scale)) * painter.multiple for side in (height, width))
        return Piece(window, height, width)

    def _paint(
        self, pieces: Sequence[Piece], rows: Sequence[int], images_BHWC: Images, masks_BHW: Holes, seeds: Sequence[int]
    ) -> list[Images] | None:
        """Return the windows (h, w, 3) after painting, or None if there was no memory for so many."""
        whole_HWC = [images_BHWC[row, *piece.window] for row, piece in zip(rows, pieces, strict=True)]
        holes_HW = [masks_BHW[row, *piece.window] for row, piece in zip(rows, pieces, strict=True)]
        height, width = pieces[0].height, pieces[0].width
        seen_BHWC = np.stack([resize_picture(part_HWC, height, width) for part_HWC in whole_HWC])
        hole_BHW = np.stack([resize_mask(part_HW, height, width) for part_HW in holes_HW])
        try:
            made_BHWC = self._painter.paint(seen_BHWC, hole_BHW, [seeds[row] for row in rows])
        except torch.OutOfMemoryError as error:
            if len(rows) == 1:
                raise RuntimeError(
                    f"expected memory for one picture of {height} x {width} on the device, found too little: {error}; "
                    "give another inpaint.device or, of a pipeline, a smaller inpaint.size or another precision"
                ) from error
            self._at_once = len(rows) // 2
        else:
            grey_B = grey_pictures(seen_BHWC)
            made_BHWC[grey_B] = without_colour(made_BHWC[grey_B])
            back = [resize_picture(made_HWC, *part.shape[:2]) for made_HWC, part in zip(made_BHWC, whole_HWC, strict=True)]
            if not self._settings.composite:
                return back
            return [
                np.where(hole_HW[..., None], made_HWC, part_HWC)
                for hole_HW, made_HWC, part_HWC in zip(holes_HW, back, whole_HWC, strict=True)
            ]
        torch.cuda.empty_cache()  # here, as the error holds what was computed up to it; does nothing without a GPU
        return None


def window_around(mask_HW: Holes, smallest: int, multiple: int, context: int) -> Window:
    """Return rows and columns of a square around the hole, cut to the picture.

    Its side is ``smallest``, or the next multiple of ``multiple`` that leaves ``context`` pixels around the hole. A picture
    without a hole is its own window.
    """
    extents = [np.flatnonzero(mask_HW.any(axis=axis)) for axis in (1, 0)]
    if not len(extents[0]):
        return slice(0, mask_HW.shape[0]), slice(0, mask_HW.shape[1])
    longest = max(int(extent[-1] - extent[0]) + 1 for extent in extents)
    side = max(smallest, -(-(longest + 2 * context) // multiple) * multiple)
    rows, columns = (
        _span(int(extent[0] + extent[-1] + 1) // 2, side, length)
        for extent, length in zip(extents, mask_HW.shape, strict=True)
    )
    return rows, columns


def _span(middle: int, side: int, length: int) -> slice:
    size = min(side, length)
    start = min(max(middle - size // 2, 0), length - size)
    return slice(start, start + size)


def _of_one_size(pieces: Sequence[Piece]) -> list[list[int]]:
    """Return the numbers of pieces that are seen at equal height and width."""
    groups: dict[tuple[int, int], list[int]] = {}
    for number, piece in enumerate(pieces):
        groups.setdefault((piece.height, piece.width), []).append(number)
    return list(groups.values())


def resize_picture(image_HWC: Images, height: int, width: int) -> Images:
    """Return a picture (height, width, 3) uint8: averaged where it shrinks, cubic where it grows."""
    if image_HWC.shape[:2] == (height, width):
        return image_HWC
    shrinks = height * width < image_HWC.shape[0] * image_HWC.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(np.ascontiguousarray(image_HWC), (width, height), interpolation=how), np.uint8)


def resize_mask(mask_HW: Holes, height: int, width: int) -> Holes:
    """Return a mask (height, width) bool; where it shrinks, a pixel of which any part was masked is."""
    if mask_HW.shape == (height, width):
        return mask_HW
    shrinks = height < mask_HW.shape[0] or width < mask_HW.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(mask_HW.astype(np.float32), (width, height), interpolation=how) > 0)


def without_colour(images_BHWC: Images) -> Images:
    """Return (B, H, W, 3) uint8 with three channels of the luminance (ITU-R BT.601) of ``images_BHWC``."""
    luminance_BHW = images_BHWC @ np.array([0.299, 0.587, 0.114])
    return np.repeat(luminance_BHW.round().astype(np.uint8)[..., None], 3, axis=-1)
